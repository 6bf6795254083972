"""Segments: many records in one file, with an index."""
