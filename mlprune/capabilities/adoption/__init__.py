"""Adoption: variants that are checkpoints which were made elsewhere."""
