"""The section `sensitivity` of a recipe: parts that are pruned alone, and where their losses are measured."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from mlprune.recipe.base import EntryName
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import (
    EvaluationConfig,
    evaluations_of_task,
    has_metric,
    require_split,
    require_task,
)
from mlprune.recipe.names import KeysOf, NamesOf
from mlprune.recipe.trials import check_base, check_sets, checked_trial, require_dense, with_fewer_samples
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import Model, as_tuple, distinct_values
from mlprune.vocabulary import METRIC_TRAITS, UnitName

SET_BY_PROBES = ("sparsity", "schedule", "scope")
"""Keys of an entry that a sensitivity analysis sets."""
Value = TypeVar("Value")


class SensitivityConfig(Model):
    """One sensitivity analysis: a variant for every part and sparsity, in which only this part is pruned."""

    name: EntryName
    """Name of the analysis, unique among all entries."""
    base: Annotated[
        Mapping[str, object],
        KeysOf(VariantConfig),
        AfterValidator(check_base),
        Field(title="keys of an entry of `variants`"),
    ]
    """What all probes have in common; needs `propagation: dense` if its score reads demonstrations, which are one
    set."""
    by: Annotated[tuple[UnitName, ...], BeforeValidator(as_tuple)] = ("block",)
    """Parts that are pruned alone: each `block`, each `layer` in all blocks, or each layer of each block
    (`block_layer`)."""
    sparsity: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(as_tuple)]
    """Share of the part's weights that is removed."""
    tasks: tuple[str, ...] = ()
    """Tasks of the evaluations on `split` (all)."""
    metric: str | None = None
    """Metric of the losses, such as `divergence` (accuracy, chrF or perplexity, as a task has it)."""
    split: Annotated[str, Field(min_length=1)] = "dev"
    """Split of the evaluations."""
    influence: Annotated[tuple[str, ...], BeforeValidator(as_tuple), NamesOf("sets")] = ()
    """Names of demonstration sets, each of one language, for which the influence of every block is measured: one minus
    the cosine between the states before and after it."""

    def shrunk(self, n: int) -> "SensitivityConfig":
        """Return the analysis with a base that reads at most `n` demonstrations."""
        return self.model_copy(update={"base": with_fewer_samples(self.base, n)})

    @field_validator("by", "sparsity")
    @classmethod
    def _list_is_distinct(cls, value: tuple[Value, ...]) -> tuple[Value, ...]:
        return distinct_values(value)

    @field_validator("tasks", "influence")
    @classmethod
    def _names_are_distinct(cls, value: tuple[Value, ...]) -> tuple[Value, ...]:
        return distinct_values(value) if value else value

    @model_validator(mode="after")
    def _probes_are_variants(self) -> "SensitivityConfig":
        _check_probes(self.base, self.sparsity)
        return self


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
        ValueError: a name is taken, nothing is evaluated on the split, the metric is not measured there, or block
            influence has a set without a language.
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
        _check_metric(analysis, evaluations, where=where)
        _check_influence(analysis, sets, where=where)


def _check_tasks(analysis: SensitivityConfig, evaluations: Sequence[EvaluationConfig], *, where: str) -> None:
    """Check that the tasks are evaluated on the split."""
    for task in analysis.tasks:
        require_task(task, evaluations, key=f"{where}.tasks")
        require_split(analysis.split, evaluations, key=f"{where}.split", task=task)
    require_split(analysis.split, evaluations, key=f"{where}.split")


def tasks_of(analysis: SensitivityConfig, evaluations: Sequence[EvaluationConfig]) -> tuple[str, ...]:
    """Return the tasks of an analysis: those that it names, or all on its split."""
    return analysis.tasks or tuple(dict.fromkeys(one.task for one in evaluations if one.split == analysis.split))


def _check_metric(analysis: SensitivityConfig, evaluations: Sequence[EvaluationConfig], *, where: str) -> None:
    """Check that the evaluations of every task have the key that the metric needs, if it needs one."""
    if analysis.metric is None:
        return
    for task in tasks_of(analysis, evaluations):
        entries = evaluations_of_task(evaluations, task, split=analysis.split)
        if not all(has_metric(entry, analysis.metric) for entry in entries):
            key = METRIC_TRAITS[analysis.metric].key
            raise ValueError(f"{where}.metric: {analysis.metric} needs {key}: true in the evaluations of task {task}")


def _check_influence(analysis: SensitivityConfig, sets: Sequence[DemonstrationConfig], *, where: str) -> None:
    """Check that block influence is measured on sets of one language."""
    for name in analysis.influence:
        kinds = [entry.kind for entry in sets if entry.name == name and entry.language is None]
        if kinds:
            raise ValueError(f"{where}.influence needs sets of one language, got {name!r} of kind {kinds[0]}")


def _check_probes(base: Mapping[str, object], sparsities: Sequence[float]) -> None:
    """Check that a sensitivity analysis has a variant for every sparsity.

    Raises:
        ValueError: the base has a key that the analysis sets, or is not a variant.
        ValidationError: a value of the base is wrong by itself.
    """
    for key in SET_BY_PROBES:
        if key in base:
            raise ValueError(f"a sensitivity analysis sets the {key} of every probe: leave it out of base")
    for sparsity in sparsities:
        variant = checked_trial({**base, "sparsity": sparsity, "scope": {"blocks": [0]}}, {})
        require_dense(variant, "sensitivity analyses")
