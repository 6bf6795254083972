"""Smaller models: removed attention heads and feed-forward neurons are cut out of the weights instead of zeroed."""
