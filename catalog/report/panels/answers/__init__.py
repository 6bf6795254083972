"""Figures about single answers: examples that changed, and accuracy by category of items."""
