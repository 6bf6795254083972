"""Leakage: demonstrations must not contain corpus lines or task items that an evaluation uses."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mlprune.errors import RecipeError, TaskFileError
from mlprune.evaluation.tasks.task_files import CORPUS, read_items
from mlprune.recipe import DemonstrationConfig, EvaluationConfig, Recipe
from mlprune.steps.demonstrate.source_texts import SourceTexts
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.evaluate.task_location import locate_items, task_source
from mlprune.steps.evaluate.task_spec import TaskSpec, in_profile
from mlprune.steps.inputs import Inputs
from mlprune.vocabulary import DemonstrationKind

READS_THE_CORPUS: tuple[DemonstrationKind, ...] = ("translation", "monolingual")
"""Kinds of set that draw sentences from the recipe's corpus."""


def evaluated_keys(
    recipe: Recipe, inputs: Inputs, entry: DemonstrationConfig, *, lines: frozenset[int]
) -> frozenset[int | str]:
    """Keys of the texts of an entry that evaluations use: lines of the corpus, or ids of the task's items."""
    if entry.kind in READS_THE_CORPUS:
        return frozenset(lines)
    if entry.kind != "task":
        return frozenset()
    specs = [
        in_profile(_task_spec(recipe, inputs, evaluation, language), profile)
        for evaluation in recipe.evaluations
        if _reads_same_items(recipe, evaluation, entry)
        for language in evaluation.languages
        for profile in evaluation.profile
    ]
    return frozenset(item.example_id for spec in specs for item in task_data(spec).items)


def _reads_same_items(recipe: Recipe, evaluation: EvaluationConfig, entry: DemonstrationConfig) -> bool:
    halves_differ = evaluation.path == CORPUS and evaluation.split_by != "items"
    if evaluation.task != entry.task or (evaluation.split != entry.split and not halves_differ):
        return False
    first, second = (task_source(recipe, path or "") for path in (evaluation.path, entry.path))
    if isinstance(first, Path) and isinstance(second, Path):
        is_same = first.resolve() == second.resolve()
        return is_same or (evaluation.path != CORPUS and _have_equal_items(first, second, entry))
    return first == second


def _have_equal_items(first: Path, second: Path, entry: DemonstrationConfig) -> bool:
    """Whether two paths have the same items in the language of an entry: a folder, its archive and its files do."""
    assert entry.task, "a task set has a task"
    assert entry.language, "a task set has a language"
    read = partial(read_items, entry.task, language=entry.language, split=entry.split or "")
    try:
        contents = {read(path).content_sha256 for path in (first, second)}
    except TaskFileError:
        return False
    return len(contents) == 1


def _task_spec(recipe: Recipe, inputs: Inputs, evaluation: EvaluationConfig, language: str) -> TaskSpec:
    """The task of an evaluation in one language, as the planner of evaluations makes it."""
    from_corpus = evaluation.path == CORPUS
    location = locate_items(recipe, evaluation.path, languages=evaluation.languages, split=evaluation.split)
    return TaskSpec(
        task=evaluation.task,
        language=language,
        split=evaluation.split,
        limit=evaluation.limit,
        seed=evaluation.seed,
        corpus=inputs.corpus_ref if from_corpus else None,
        is_corpus_half=from_corpus,
        split_by=evaluation.split_by,
        folder=location.folder,
        hub=location.hub,
    )


def check_leakage(
    entry: DemonstrationConfig,
    texts: SourceTexts,
    groups: Sequence[tuple[int, ...]],
    *,
    evaluated: frozenset[int | str],
) -> None:
    """Refuse demonstrations with texts that an evaluation uses.

    Args:
        groups: numbers of each demonstration's texts.
        evaluated: keys of the texts that evaluations use.
    Raises:
        RecipeError: a demonstration has such a text.
    """
    used = sorted(number for numbers in groups for number in numbers if texts.keys[number] in evaluated)
    if used:
        raise RecipeError(
            f"demonstrations would contain {texts.unit} that an evaluation uses",
            demonstrations=entry.name,
            expected=f"other {texts.unit}; corpus: {{leave_out_evaluated: true}} skips the evaluated ones",
            got=f"{len(used)} evaluated {texts.unit}, the first is line {used[0] + 1}",
        )
