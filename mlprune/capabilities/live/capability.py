"""The live page: a page in the browser that follows the runs of a store."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("live")
