"""Costs of searches and sensitivity analyses."""
