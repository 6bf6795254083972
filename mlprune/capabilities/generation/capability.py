"""Generation: demonstration sets whose texts the dense model writes itself."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.generation.generation import plan_generated_set

CAPABILITY = Capability("generation", sets={"generated": plan_generated_set})
