"""Notebooks about a store."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("notebook")
"""Writes a notebook, which the command `report --notebook` opens."""
