"""Plan the baselines: variants other than masks on the recipe's model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mlprune.capabilities.baselines.keys import BaselineConfig
from mlprune.capabilities.baselines.lrp2 import projections
from mlprune.capabilities.baselines.self_translation import self_translation
from mlprune.capabilities.baselines.translate_test import translate_test
from mlprune.capabilities.capability import Planned, Variants
from mlprune.errors import RecipeError
from mlprune.json_values import JsonValue
from mlprune.models.model_layers import ModelLayer
from mlprune.models.placement.memory_estimate import footprint, shard_bytes
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs, open_model
from mlprune.steps.job import Identity, Job, ModelRef
from mlprune.steps.prune.ordering import DenseVariantJob
from mlprune.steps.sets import PlannedSet
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.planned_variant import PlannedVariant, with_entry
from mlprune.steps.variants.variant import DenseVariant, dense_variant


@dataclass(frozen=True, kw_only=True)
class OtherModel(PlannedVariant):
    """Another base model, unpruned."""

    spec: DenseVariant
    is_baseline: ClassVar[bool] = True
    base: Identity
    row: tuple[tuple[str, JsonValue], ...]
    """Catalog row of the model."""
    layers: tuple[ModelLayer, ...]
    """Parameters of two or more dimensions in its blocks."""

    @property
    def label(self) -> str:
        """The model, as text."""
        return f"dense {dict(self.row)['source']}"

    def jobs(self, tasks: Sequence[TaskSpec]) -> list[Job]:
        """The job that records the model."""
        return [DenseVariantJob(self.base, self.row, self.layers, self.spec)]


def add_baselines(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants and the baselines. Equal baselines of several entries are planned once.

    Raises:
        RecipeError: another model is the recipe's model, is larger, or is used in two dtypes; or LRP2 lacks sets or
            blocks.
        ModelError: another model cannot be used.
    """
    for entry in planned.recipe.baselines:
        baselines = list(_planned(planned.recipe, planned.inputs, planned.sets.default, entry))
        for baseline in baselines:
            dtype = variants.get(baseline.id, baseline).spec.model.dtype
            if baseline.spec.model.dtype != dtype:
                message = "a model is a baseline in two dtypes, but has one dense variant"
                raise RecipeError(message, baseline=entry.name, expected=dtype, got=entry.dtype)
        variants = with_entry(variants, entry, baselines)
    return variants


def _planned(
    recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]], entry: BaselineConfig
) -> Iterable[PlannedVariant]:
    """Plan the variants of one entry."""
    if entry.kind == "model":
        return [_other_model(recipe, inputs, entry)]
    if entry.kind == "translate_test":
        return [translate_test(recipe, inputs, entry)]
    batch_tokens = inputs.model.batch_tokens(recipe.compute)
    if entry.kind == "self_translate":
        return [self_translation(inputs, entry, batch_tokens=batch_tokens)]
    return projections(inputs, entry, sets[entry.demonstrations or ""], batch_tokens=batch_tokens)


def _other_model(recipe: Recipe, inputs: Inputs, entry: BaselineConfig) -> OtherModel:
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
    spec, row = dense_variant(opened.base, opened.ref), tuple(opened.row.items())
    return OtherModel(spec=spec, base=opened.base, row=row, layers=opened.layers)


def _model_bytes(model: ModelRef) -> int:
    return shard_bytes(footprint(Path(model.path), model.dtype), range(model.n_blocks))
