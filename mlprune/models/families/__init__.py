"""Model families: the record of each supported architecture and the checks of a model against it."""

from mlprune.models.families.checks import family_of
from mlprune.models.families.records import FAMILIES, Family

__all__ = ["FAMILIES", "Family", "family_of"]
