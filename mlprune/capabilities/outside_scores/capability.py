"""Scores of outputs that another program gave, as metrics of stored evaluations."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("outside_scores")
