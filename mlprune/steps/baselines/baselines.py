"""Plan the baselines: variants other than masks on the recipe's model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.errors import RecipeError
from mlprune.json_values import JsonValue
from mlprune.models.model_layers import ModelLayer
from mlprune.models.placement.memory_estimate import footprint, shard_bytes
from mlprune.recipe import BaselineConfig, Recipe
from mlprune.steps.baselines.lrp2 import projections
from mlprune.steps.baselines.self_translation import self_translation
from mlprune.steps.baselines.translate_test import translate_test
from mlprune.steps.inputs import Inputs, open_model
from mlprune.steps.job import Identity, Job, ModelRef, RecordKey
from mlprune.steps.prune.ordering import DenseVariantJob
from mlprune.steps.sets import PlannedSet
from mlprune.steps.tasks.evaluation import EvaluationSpec, Intervention, NoIntervention
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.planned_variant import PlannedVariant, with_entry
from mlprune.steps.variants.variant import DenseVariant, VariantSpec, dense_variant


@dataclass(frozen=True)
class OtherModel:
    """Another base model, unpruned."""

    base: Identity
    row: tuple[tuple[str, JsonValue], ...]
    """Catalog row of the model."""
    layers: tuple[ModelLayer, ...]
    """Parameters of two or more dimensions in its blocks."""

    @property
    def label(self) -> str:
        """The model, as text."""
        return f"dense {dict(self.row)['source']}"

    def intervention(self, variant: VariantSpec, task: TaskSpec) -> Intervention | None:
        """None at run time."""
        return NoIntervention()

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """The job that records the model."""
        return [DenseVariantJob(self.base, self.row, self.layers, variant)] if isinstance(variant, DenseVariant) else []


def add_baselines(
    recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]], planned: Mapping[str, PlannedVariant]
) -> dict[str, PlannedVariant]:
    """Add the baselines to the planned variants. Equal baselines of several entries are planned once.

    Raises:
        RecipeError: another model is the recipe's model, is larger, or is used in two dtypes; or LRP2 lacks sets or
            blocks.
        ModelError: another model cannot be used.
    """
    variants = dict(planned)
    for entry in recipe.baselines:
        baselines = _planned(recipe, inputs, sets, entry)
        for baseline in baselines:
            dtype = variants.get(baseline.id, baseline).spec.model.dtype
            if baseline.spec.model.dtype != dtype:
                message = "a model is a baseline in two dtypes, but has one dense variant"
                raise RecipeError(message, baseline=entry.name, expected=dtype, got=entry.dtype)
        variants = with_entry(variants, entry, baselines)
    return variants


def baseline_jobs(
    variants: Mapping[str, PlannedVariant], evaluations: Mapping[str, tuple[EvaluationSpec, ...]]
) -> list[Job]:
    """Plan the jobs of the baselines and those that their evaluations need, each once."""
    jobs: dict[tuple[RecordKey, ...], Job] = {}
    for variant in variants.values():
        if variant.baseline is not None:
            tasks = [evaluation.task for evaluation in evaluations[variant.id]]
            jobs |= {job.makes: job for job in variant.baseline.jobs(variant.spec, tasks)}
    return list(jobs.values())


def _planned(
    recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]], entry: BaselineConfig
) -> list[PlannedVariant]:
    """Plan the variants of one entry."""
    if entry.kind == "model":
        return [_other_model(recipe, inputs, entry)]
    batch_tokens = inputs.model.batch_tokens(recipe.compute)
    if entry.kind == "self_translate":
        translation = self_translation(inputs, entry)
        return [PlannedVariant(translation.spec(inputs, batch_tokens=batch_tokens), baseline=translation)]
    if entry.kind == "translate_test":
        given = translate_test(recipe, entry)
        return [PlannedVariant(given.spec(inputs), baseline=given)]
    planned = projections(inputs, entry, sets[entry.demonstrations or ""], batch_tokens=batch_tokens)
    return [PlannedVariant(baseline.spec(inputs, batch_tokens=batch_tokens), baseline=baseline) for baseline in planned]


def _other_model(recipe: Recipe, inputs: Inputs, entry: BaselineConfig) -> PlannedVariant:
    """Plan the dense variant of another model.

    It may not be larger than the recipe's model, for which the worker pool is sized.
    """
    assert entry.path is not None, "kind model has a path"
    dtype = entry.dtype or inputs.model.dtype
    opened = open_model(recipe, entry.path, revision=entry.revision, dtype=dtype, device=inputs.model.device)
    if opened.base.id == inputs.base.id:
        message = "a baseline is the recipe's own model, whose dense variant always exists"
        raise RecipeError(message, baseline=entry.name, expected="another model", got=entry.path)
    recipe_bytes, baseline_bytes = _model_bytes(inputs.model), _model_bytes(opened.ref)
    if baseline_bytes > recipe_bytes:
        message = "a baseline's model is larger than the recipe's"
        expected = f"at most {recipe_bytes} bytes of weights in the dtype of the run"
        raise RecipeError(message, baseline=entry.name or entry.path, expected=expected, got=baseline_bytes)
    return PlannedVariant(
        dense_variant(opened.base, opened.ref),
        baseline=OtherModel(opened.base, tuple(opened.row.items()), opened.layers),
    )


def _model_bytes(model: ModelRef) -> int:
    return shard_bytes(footprint(Path(model.path), model.dtype), range(model.n_blocks))
