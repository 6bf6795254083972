"""Values of keys of a variant that only this capability reads."""

from mlprune.methods import OF_DEPTH, scores_of_structures

STRUCTURES = OF_DEPTH
"""Values of `structure`."""
SCORES_OF_BLOCKS = scores_of_structures(STRUCTURES)
"""Values of `score` that need no `structure`."""
