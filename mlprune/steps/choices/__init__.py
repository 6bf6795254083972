"""Choices: the best candidate and the Pareto front of the dev split, and their values on test."""
