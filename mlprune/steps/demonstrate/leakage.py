"""What evaluations use and demonstrations must not show: lines of the corpus, and items of task files."""

from pathlib import Path

from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.task_files import CORPUS
from mlprune.recipe import DemonstrationConfig, EvaluationConfig, Recipe
from mlprune.steps.demonstrate.source_texts import SourceTexts
from mlprune.steps.evaluate.jobs import TaskSpec, task_data
from mlprune.steps.evaluate.task_location import items_at, task_source
from mlprune.steps.inputs import Inputs
from mlprune.vocabulary import DemonstrationKind

READS_THE_CORPUS: tuple[DemonstrationKind, ...] = ("translation", "monolingual")
"""Kinds of set whose texts are sentences of the recipe's corpus."""


def evaluated_keys(
    recipe: Recipe, inputs: Inputs, entry: DemonstrationConfig, *, lines: frozenset[int]
) -> frozenset[int | str]:
    """What evaluations use of the texts an entry may draw on: lines of the corpus, or ids of the task's items."""
    if entry.kind in READS_THE_CORPUS:
        return frozenset(lines)
    if entry.kind != "task":
        return frozenset()
    same = [one for one in recipe.evaluations if _reads_same_items(recipe, one, entry)]
    specs = [_task_spec(recipe, inputs, one, language) for one in same for language in one.languages]
    return frozenset(item.example_id for spec in specs for item in task_data(spec).items)


def _reads_same_items(recipe: Recipe, evaluation: EvaluationConfig, entry: DemonstrationConfig) -> bool:
    if (evaluation.task, evaluation.split) != (entry.task, entry.split):
        return False
    first, second = (task_source(recipe, path or "") for path in (evaluation.path, entry.path))
    if isinstance(first, Path) and isinstance(second, Path):
        return first.resolve() == second.resolve()
    return first == second


def _task_spec(recipe: Recipe, inputs: Inputs, evaluation: EvaluationConfig, language: str) -> TaskSpec:
    """One task of an evaluation, as the evaluations themselves are planned."""
    from_corpus = evaluation.path == CORPUS
    return TaskSpec(
        task=evaluation.task,
        language=language,
        split=evaluation.split,
        limit=evaluation.limit,
        seed=evaluation.seed,
        corpus=inputs.corpus_ref if from_corpus else None,
        halves=from_corpus,
        **items_at(recipe, evaluation.path, languages=evaluation.languages, split=evaluation.split),
    )


def check_leakage(
    entry: DemonstrationConfig,
    found: SourceTexts,
    groups: list[tuple[int, ...]],
    *,
    evaluated: frozenset[int | str],
) -> None:
    """What an evaluation uses is never a demonstration.

    Raises:
        RecipeError: a demonstration would show it.
    """
    used = sorted(number for numbers in groups for number in numbers if found.keys[number] in evaluated)
    if used:
        raise RecipeError(
            f"demonstrations would show {found.unit} that an evaluation uses",
            demonstrations=entry.name,
            expected=f"other {found.unit}; corpus: {{leave_out_evaluated: true}} sees to it",
            got=f"{len(used)} evaluated {found.unit}, the first is line {used[0] + 1}",
        )
