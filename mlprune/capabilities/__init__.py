"""Capabilities: what mlprune can do beyond its core. Each is a folder of this package; the core runs without it.

`capability.py` says what a capability adds, and docs/recipe.md what its keys mean.
"""

NAMES: tuple[str, ...] = (
    "generation",
    "units",
    "blocks",
    "neurons",
    "experts",
    "reconstruction",
    "recovery",
    "quantisation",
    "vocabulary",
    "adoption",
    "baselines",
    "token_share",
    "search",
    "sensitivity",
    "live",
    "tables",
    "distance",
    "outside_scores",
    "harness",
    "importing",
    "notebook",
    "publishing",
    "inspection",
    "results",
)
"""The folders, in the order in which they add variants and jobs."""
UNSTABLE: frozenset[str] = frozenset({"quantisation", "distance", "outside_scores", "recovery"})
"""Capabilities whose keys, commands, queries and columns may change in every version; the references mark them."""
