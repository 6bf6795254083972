"""Adoption: variants that are checkpoints which were made elsewhere."""

from mlprune.capabilities.adoption.adopted_masks import add_adopted, adopt_jobs, require_fewer_tokens
from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("adoption", variants=add_adopted, derived=require_fewer_tokens, masks=adopt_jobs)
