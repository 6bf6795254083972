"""Import: published checkpoints, in any known format, become model folders."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.importing.hub_source import find_source

CAPABILITY = Capability("importing", find_source=find_source)
