"""Attention heads and feed-forward neurons: FLAP scores, variants without some of them, and new biases."""
