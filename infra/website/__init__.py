"""The web site of the documentation: the pages of the repository with navigation, search and versions."""
