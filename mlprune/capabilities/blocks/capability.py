"""Blocks and sub-layers: variants without whole ones; its records say what makes them."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("blocks")
