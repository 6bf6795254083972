"""Figures about languages: source languages of demonstrations, and the sparsity at which each language breaks."""
