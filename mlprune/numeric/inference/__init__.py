"""Kernels of the forward pass: log-probabilities and linear products."""
