"""Publishing: variants as model folders, patches and masks, and published masks applied to their base model."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("publishing")
