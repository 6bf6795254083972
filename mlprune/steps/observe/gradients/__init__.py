"""Gradients of the loss of the whole model over a demonstration set."""
