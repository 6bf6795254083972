"""Rows of the table of methods by language, from the catalog."""
