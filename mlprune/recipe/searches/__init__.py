"""Searches of a recipe: which sparsity, where, for which languages."""
