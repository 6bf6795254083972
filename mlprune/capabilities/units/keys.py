"""Values of keys of a variant that only this capability reads."""

from mlprune.methods import scores_of_structures

STRUCTURES = ("units",)
"""Values of `structure`."""
SCORES_OF_UNITS = scores_of_structures(STRUCTURES)
"""Values of `score` that need no `structure`."""
