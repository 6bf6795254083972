"""Baselines that change the dense model's run-time behaviour instead of its weights."""
