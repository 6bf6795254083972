"""Distances of variants from the dense model, as metrics of evaluations; the key of an evaluation plans them."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("distance")
