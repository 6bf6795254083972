"""Baselines: other models, LRP2, and examples that are translated into English."""

from mlprune.capabilities.baselines.baselines import add_baselines
from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("baselines", derived=add_baselines)
