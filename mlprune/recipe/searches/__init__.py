"""Searches and sensitivity analyses of a recipe: which sparsity, where, for which languages."""
