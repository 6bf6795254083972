"""Checks of sensitivity analyses against the other sections: names, demonstration sets and evaluations."""

from collections.abc import Collection, Sequence

from mlprune.recipe.base import unknown_name
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.searches.measures import require_split, require_task
from mlprune.recipe.searches.search_checks import check_sets
from mlprune.recipe.searches.sensitivity import SensitivityConfig


def check_sensitivity(
    analyses: Sequence[SensitivityConfig],
    evaluations: Sequence[EvaluationConfig],
    *,
    sets: Sequence[DemonstrationConfig],
    entries: Collection[str],
) -> None:
    """Check all sensitivity analyses of a recipe.

    Args:
        sets: the demonstration sets.
        entries: names of the other entries.
    Raises:
        ValueError: a name is taken, nothing is evaluated on the split, or block influence has a set without a language.
        PydanticCustomError: a name is unknown.
    """
    taken = list(entries)
    for index, analysis in enumerate(analyses):
        where = f"sensitivity.{index}"
        if analysis.name in taken:
            raise ValueError(f"{where}: another entry has the name {analysis.name!r}")
        taken.append(analysis.name)
        check_sets(analysis.base, {}, sets, where=where)
        _check_tasks(analysis, evaluations, where=where)
        _check_influence(analysis, sets, where=where)


def _check_tasks(analysis: SensitivityConfig, evaluations: Sequence[EvaluationConfig], *, where: str) -> None:
    """Check that the tasks are evaluated on the split."""
    for task in analysis.tasks:
        require_task(task, evaluations, key=f"{where}.tasks")
        require_split(analysis.split, evaluations, key=f"{where}.split", task=task)
    require_split(analysis.split, evaluations, key=f"{where}.split")


def _check_influence(analysis: SensitivityConfig, sets: Sequence[DemonstrationConfig], *, where: str) -> None:
    """Check that block influence is measured on sets of one language."""
    names = list(dict.fromkeys(entry.name for entry in sets))
    for name in analysis.influence:
        if name not in names:
            raise unknown_name("name in influence", name, names, key=f"{where}.influence")
        kinds = [entry.kind for entry in sets if entry.name == name and entry.language is None]
        if kinds:
            raise ValueError(f"{where}.influence needs sets of one language, got {name!r} of kind {kinds[0]}")
