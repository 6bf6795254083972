"""Blocks: variants without whole blocks; its records say what makes them."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("blocks")
