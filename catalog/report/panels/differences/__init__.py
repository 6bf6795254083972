"""Figures of paired differences to the dense model: curves, forest plots and heat maps."""
