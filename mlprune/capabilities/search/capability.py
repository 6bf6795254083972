"""Searches: which sparsity, where, for which languages."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.search.part import plan_searches
from mlprune.capabilities.search.searched import without_searched

CAPABILITY = Capability(
    "search",
    without_late=without_searched,
    part=plan_searches,
    query=lambda recipe: "search_final" if recipe.searches else "",
)
