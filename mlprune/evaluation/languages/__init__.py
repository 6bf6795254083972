"""The language of generated texts: scripts of lines, the language detector, and pass rates."""
