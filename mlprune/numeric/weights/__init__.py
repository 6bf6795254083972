"""Kernels on the weights of one layer: scores and SparseGPT."""
