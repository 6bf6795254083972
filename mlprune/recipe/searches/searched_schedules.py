"""Variant entries whose schedule is the winner of a search: their checks, and the recipe without them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from mlprune.recipe.base import unknown_name
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.questions.question import QuestionConfig
from mlprune.recipe.searches.search import SearchConfig
from mlprune.recipe.variants import VariantConfig

if TYPE_CHECKING:
    from mlprune.recipe.models import Recipe


def searched_entries(variants: Iterable[VariantConfig], search: str | None = None) -> tuple[VariantConfig, ...]:
    """Return the entries with schedule search, of one search or of all."""
    entries = (entry for entry in variants if entry.schedule.kind == "search")
    return tuple(entry for entry in entries if search in (None, entry.schedule.source))


def check_searched_schedules(
    variants: Sequence[VariantConfig],
    searches: Sequence[SearchConfig],
    questions: Sequence[QuestionConfig],
    *,
    names: Iterable[str],
) -> None:
    """Check the entries with schedule search, and that nothing reads them before the search has finished.

    Args:
        names: of the entries that baselines and analyses read.
    Raises:
        ValueError: the search has no levels or another total, or something else names such an entry.
        PydanticCustomError: there is no such search.
    """
    by_name = {search.name: search for search in searches}
    for index, entry in enumerate(variants):
        source = entry.schedule.source
        if entry.schedule.kind != "search" or source is None:
            continue
        where = f"variants.{index}.schedule"
        if source not in by_name:
            raise unknown_name("search", source, sorted(by_name), key=f"{where}.from")
        levels = by_name[source].levels
        if levels is None:
            raise ValueError(f"{where}: search {source} has no levels that a schedule could have; give it levels")
        if None not in (entry.sparsity, levels.total) and entry.sparsity != levels.total:
            raise ValueError(f"{where}: search {source} has total {levels.total}, got sparsity {entry.sparsity}")
    late = {entry.name for entry in searched_entries(variants) if entry.name}
    asked = (name for question in questions for name in (question.variants, question.against))
    read = (name for entry in variants for name in (*entry.of, *entry.against))
    for name in (*read, *asked, *names):
        if name in late:
            raise ValueError(f"{name} has the schedule of a search, and only evaluations can name it")


def without_searched(recipe: "Recipe") -> "Recipe":
    """Return the recipe without the entries that are planned once their search has finished."""
    late = searched_entries(recipe.variants)
    if not late:
        return recipe
    kept = tuple(entry for entry in recipe.variants if entry not in late)
    evaluations = tuple(_with_names(recipe.evaluations, {entry.name for entry in kept} | _baselines(recipe)))
    return recipe.model_copy(update={"variants": kept, "evaluations": evaluations})


def evaluations_of_searched(recipe: "Recipe", entries: Sequence[VariantConfig]) -> tuple[EvaluationConfig, ...]:
    """Return the evaluations of some entries and of those that they are compared with."""
    names = {entry.name for entry in entries}
    return tuple(_with_names(recipe.evaluations, names))


def _baselines(recipe: "Recipe") -> set[str | None]:
    return {baseline.name for baseline in recipe.baselines}


def _with_names(evaluations: Iterable[EvaluationConfig], names: set[str | None]) -> Iterator[EvaluationConfig]:
    """Yield the evaluations of all variants, and those of named ones with the names that are left."""
    for evaluation in evaluations:
        left = tuple(name for name in evaluation.variants if name in names)
        if left or not evaluation.variants:
            yield evaluation.model_copy(update={"variants": left})
