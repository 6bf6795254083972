"""Variants with a smaller vocabulary, and what it costs each language."""
