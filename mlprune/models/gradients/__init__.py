"""Gradients of weights: backward passes through one block, or block by block through the whole model."""
