"""Metrics, their confidence intervals and tests."""
