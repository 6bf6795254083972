"""Values of keys of a variant that only this capability reads."""

from mlprune.methods import OF_EXPERTS, scores_of_structures

STRUCTURES = OF_EXPERTS
"""Values of `structure`."""
SCORES_OF_EXPERTS = scores_of_structures(STRUCTURES)
"""Values of `score` that need no `structure`."""
