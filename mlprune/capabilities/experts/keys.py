"""Values of keys of a variant that only this capability reads."""

from mlprune.methods import OF_EXPERTS, SCORES

STRUCTURES = OF_EXPERTS
"""Values of `structure`."""
SCORES_OF_EXPERTS = tuple(name for name, score in SCORES.items() if score.structures == OF_EXPERTS)
"""Values of `score` that need no `structure`."""
