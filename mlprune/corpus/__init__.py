"""Corpora: read texts and turn them into tokenised demonstrations."""
