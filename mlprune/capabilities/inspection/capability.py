"""What published data and a model have: the commands `check data` and `check model`."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("inspection")
