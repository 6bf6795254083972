"""Ingest: turn records and run files into rows of the catalog."""
