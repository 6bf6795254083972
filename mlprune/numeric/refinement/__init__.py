"""Refinement of one layer: better masks at equal sparsity, and new values of the kept weights."""
