"""Probes: variants that are measured before those of the recipe, whose schedules may read what the probes lose.

Probes are compared with dense by the jobs of their analyses only, and cannot be chosen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mlprune.recipe.models import Recipe
from mlprune.steps.evaluate.model_evaluation import evaluation_jobs
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job
from mlprune.steps.loss_records import LossRecord
from mlprune.steps.prune.mask_jobs import variant_jobs
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.item_flow import described_items
from mlprune.steps.variants.planned_variant import PlannedVariant

Variants = Mapping[str, PlannedVariant]
"""Id -> planned variant."""
Evaluations = Mapping[str, tuple[EvaluationSpec, ...]]
"""Variant id -> its evaluations."""


class ProbedLosses(NamedTuple):
    """Losses that one job measures, of probes that are evaluated on the same items."""

    record: LossRecord
    """What the job writes."""
    job: Job
    variants: tuple[str, ...]
    """Ids of the probes."""
    evaluations: tuple[EvaluationSpec, ...]
    """Those of the first probe."""


@dataclass(frozen=True)
class Probes:
    """The probes that a capability plans."""

    kind: str = ""
    """Kind of the names of its entries, which is also the section of the recipe."""
    variants: Variants = field(default_factory=dict)
    """Without dense."""
    evaluations: Evaluations = field(default_factory=dict)
    """Of the probes and of dense."""
    variant_jobs: tuple[Job, ...] = ()
    """The jobs that make the probes."""
    observations: tuple[Job, ...] = ()
    """Jobs that observe the dense model for an analysis; they come first."""
    losses: tuple[ProbedLosses, ...] = ()
    """Of every entry; entries may share jobs."""

    def added_to(self, evaluations: Evaluations) -> Evaluations:
        """Return some evaluations together with those of the probes, each once."""
        merged = {
            variant: {spec.identity.id: spec for spec in (*evaluations.get(variant, ()), *specs)}
            for variant, specs in self.evaluations.items()
        }
        return {**evaluations, **{variant: tuple(specs.values()) for variant, specs in merged.items()}}


def probe_jobs(
    recipe: Recipe, inputs: Inputs, probes: Probes, *, variants: Iterable[PlannedVariant], evaluations: Evaluations
) -> list[Job]:
    """Return the jobs that measure losses: before those of the variants, whose schedules may read them.

    Args:
        variants: of the recipe.
        evaluations: of `Probes.added_to`.
    """
    if not probes.losses:
        return list(probes.observations)
    dense = {variant.id: variant for variant in variants if variant.is_dense}
    of_probes = {variant: evaluations[variant] for variant in probes.evaluations}
    return [
        *probes.observations,
        *variant_jobs(recipe, inputs, dense),
        *probes.variant_jobs,
        *described_items(spec for specs in of_probes.values() for spec in specs),
        *evaluation_jobs(recipe, {**probes.variants, **dense}, of_probes, share_blocks=True),
        *{losses.record.id: losses.job for losses in probes.losses}.values(),
    ]
