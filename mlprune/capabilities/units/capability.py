"""Units: variants without heads and neurons; its records say what makes them."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("units")
