"""Figures about removed weights by block and layer."""
