"""Values of keys of a variant that only this capability reads."""

from mlprune.methods import scores_of_structures

STRUCTURES = ("blocks",)
"""Values of `structure`."""
SCORES_OF_BLOCKS = scores_of_structures(STRUCTURES)
"""Values of `score` that need no `structure`."""
