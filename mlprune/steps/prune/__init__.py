"""Prune: plan variants, order weights, run sweeps, combine masks, and verify them."""
