"""Demonstration sets of profile `paper`: those that its variants read, and those that the published code can make."""

from mlprune.errors import RecipeError
from mlprune.recipe import DemonstrationConfig, Recipe
from mlprune.vocabulary import DemonstrationKind

WITHOUT_PUBLISHED_COUNTERPART: tuple[DemonstrationKind, ...] = ("text", "task", "generated")
"""Kinds of sets that the published code does not have."""


def with_published_sets(recipe: Recipe) -> Recipe:
    """Return the recipe without demonstrations that no variant of profile `paper` reads, directly or as a part."""
    entries = [entry for entry in recipe.variants if entry.profile == "paper" and entry.reads_statistics]
    names = {name for entry in entries for name in (entry.demonstrations, entry.contrast, *entry.over) if name}
    waiting = list(names)
    while waiting:
        parts = {part for entry in recipe.sets_named(waiting.pop()) for part in entry.parts} - names
        names |= parts
        waiting.extend(sorted(parts))
    demonstrations = tuple(entry for entry in recipe.demonstrations if entry.name in names)
    return recipe.model_copy(update={"demonstrations": demonstrations})


def refuse_without_counterpart(entry: DemonstrationConfig) -> None:
    """Refuse a set that the published code cannot make.

    Raises:
        RecipeError: it is of another kind than the published three, has a token budget, is unpaired, or does not
            cut the end of longer demonstrations off.
    """
    for what, absent in (
        (f"kind {entry.kind}", entry.kind in WITHOUT_PUBLISHED_COUNTERPART),
        ("token_budget", entry.token_budget is not None),
        ("paired: false", not entry.paired),
        (f"longer: {entry.longer}", entry.longer != "truncate_right"),
    ):
        if absent:
            message = "the published code has no such demonstrations"
            raise RecipeError(message, demonstrations=entry.name, expected="profile: corrected", got=what)
