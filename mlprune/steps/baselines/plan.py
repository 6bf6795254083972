"""Plan the baselines: variants that are something else than masks on the recipe's model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlprune.errors import RecipeError
from mlprune.models.placement.memory_estimate import footprint, shard_bytes
from mlprune.recipe import BaselineConfig, Recipe
from mlprune.steps.baselines.lrp2_plan import projections
from mlprune.steps.baselines.self_translation_plan import self_translation
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.interventions import Intervention, NoIntervention
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.inputs import Inputs, open_model
from mlprune.steps.job import Identity, Job, ModelRef
from mlprune.steps.prune.ordering import DenseVariantJob
from mlprune.steps.prune.plan import PlannedVariant, with_entry
from mlprune.steps.prune.variant import DenseVariant, VariantSpec, dense_variant


@dataclass(frozen=True)
class OtherModel:
    """Another base model as it is."""

    base: Identity
    row: tuple[tuple[str, Any], ...]
    """Its catalog row."""

    @property
    def label(self) -> str:
        """Which model."""
        return f"dense {dict(self.row)['source']}"

    def intervention(self, variant: VariantSpec, task: TaskSpec) -> Intervention | None:
        """None at run time."""
        return NoIntervention()

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """The one that records it."""
        return [DenseVariantJob(self.base, self.row, variant)] if isinstance(variant, DenseVariant) else []


def add_baselines(
    recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]], planned: Mapping[str, PlannedVariant]
) -> dict[str, PlannedVariant]:
    """The planned variants and the baselines; equal baselines of several entries are one.

    Raises:
        RecipeError: another model is the recipe's own, larger, or there in two dtypes; or LRP2 lacks sets or blocks.
        ModelError: another model cannot be used.
    """
    known = dict(planned)
    for entry in recipe.baselines:
        found = _planned(recipe, inputs, sets, entry)
        for one in found:
            there = known.get(one.id, one).spec.model.dtype
            if one.spec.model.dtype != there:
                message = "a model is a baseline in two dtypes, and its dense variant is one"
                raise RecipeError(message, baseline=entry.name, expected=there, got=entry.dtype)
        known = with_entry(known, entry, found)
    return known


def baseline_jobs(
    variants: Mapping[str, PlannedVariant], evaluations: Mapping[str, tuple[EvaluationSpec, ...]]
) -> list[Job]:
    """The jobs behind the baselines and their evaluations, each once."""
    tasks = {variant: [one.task for one in found] for variant, found in evaluations.items()}
    jobs = (job for one in variants.values() if one.baseline for job in one.baseline.jobs(one.spec, tasks[one.id]))
    return list({job.makes: job for job in jobs}.values())


def _planned(
    recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]], entry: BaselineConfig
) -> list[PlannedVariant]:
    """The variants of one entry."""
    if entry.kind == "model":
        return [_other_model(recipe, inputs, entry)]
    batch_tokens = recipe.compute.planned_batch_tokens
    if entry.kind == "self_translate":
        translating = self_translation(inputs, entry)
        return [PlannedVariant(translating.spec(inputs, batch_tokens=batch_tokens), baseline=translating)]
    found = projections(inputs, entry, sets[entry.demonstrations or ""], batch_tokens=batch_tokens)
    return [PlannedVariant(one.spec(inputs, batch_tokens=batch_tokens), baseline=one) for one in found]


def _other_model(recipe: Recipe, inputs: Inputs, entry: BaselineConfig) -> PlannedVariant:
    """The dense variant of another model, no larger than the recipe's: the pool of a run is laid out for that one."""
    assert entry.path is not None, "kind model has a path"
    dtype = entry.dtype or inputs.model.dtype
    opened = open_model(recipe, entry.path, revision=entry.revision, dtype=dtype)
    if opened.base.id == inputs.base.id:
        message = "a baseline is the recipe's own model, whose dense variant is always there"
        raise RecipeError(message, baseline=entry.name, expected="another model", got=entry.path)
    own, other = (_model_bytes(one) for one in (inputs.model, opened.ref))
    if other > own:
        message = "a baseline's model is larger than the recipe's"
        expected = f"at most {own} bytes of weights as they are run"
        raise RecipeError(message, baseline=entry.name or entry.path, expected=expected, got=other)
    return PlannedVariant(
        dense_variant(opened.base, opened.ref), baseline=OtherModel(opened.base, tuple(opened.row.items()))
    )


def _model_bytes(model: ModelRef) -> int:
    return shard_bytes(footprint(Path(model.path), model.dtype), range(model.n_blocks))
