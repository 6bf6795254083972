"""Recovery: kept weights that are optimised towards the distributions of the dense model."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.recovery.recover import add_recovered, recover_jobs

CAPABILITY = Capability("recovery", derived=add_recovered, make=recover_jobs)
