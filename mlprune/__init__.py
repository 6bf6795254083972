"""Prune multilingual language models with translation demonstrations: the science, without Ray and without DuckDB."""

__version__ = "0.2.0"
