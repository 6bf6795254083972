"""Prune heads and neurons: choose units over all blocks, and write their masks and new biases."""
