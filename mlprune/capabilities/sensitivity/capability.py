"""Sensitivity: what each language loses when one block or layer alone is pruned."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.sensitivity.probes import plan_probes

CAPABILITY = Capability(
    "sensitivity",
    probe=plan_probes,
    query=lambda recipe: "sensitive_units" if recipe.sensitivity and not recipe.variants else "",
)
