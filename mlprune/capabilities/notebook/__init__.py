"""Notebooks about a store, for marimo and for Jupyter: one text with the cells of both."""
