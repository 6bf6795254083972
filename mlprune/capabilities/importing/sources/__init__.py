"""Formats of published weights: one module each, and the registry of all of them."""
