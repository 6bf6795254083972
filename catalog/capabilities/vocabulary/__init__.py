"""Tables, queries and the figure of smaller vocabularies."""
