"""Structured pruning: scores of attention heads and feed-forward neurons, the choice of units, and new biases."""
