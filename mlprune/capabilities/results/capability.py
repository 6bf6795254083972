"""Rows of the table of methods by language."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("results")
