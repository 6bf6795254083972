"""Plan the dense passes over demonstration sets: statistics in parts, block by block, and gradients.

The split depends on sizes only, never on the number of workers, so that results do not depend on workers. A part fits
in memory and is large enough to be worth a job.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from mlprune.methods import StatisticsName
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, ModelRef, computed_parameters, make_identity
from mlprune.steps.observe.block_pass import OBSERVED_KINDS, ObserveBlocksJob
from mlprune.steps.observe.expert_products import pass_bytes
from mlprune.steps.observe.statistics import CollectPartsJob, ObserveJob, ObservePartJob
from mlprune.steps.sets import PlannedSet, check_token_scope
from mlprune.vocabulary import TokenScope

PART_TOKENS = 2**17
"""Most tokens of a part: 256 demonstrations of 512 tokens. Two cores need about ten minutes for them with a model of
564M weights, so that a killed part loses little. A set as large as in the paper (100 demonstrations) is one part.
"""
PART_BYTES = 2**28
"""Most bytes of a part's statistics over all blocks; they are in memory until the part is written."""


@dataclass(frozen=True)
class PlannedObservation:
    """The dense pass over one set."""

    identity: Identity
    """Identity of the statistics."""
    demonstration_set_id: str
    token_scope: TokenScope
    jobs: tuple[Job, ...]
    """The last job makes the record of the statistics."""
    further: Mapping[StatisticsName, Identity] = field(default_factory=dict)
    """Identities of the other statistics that can be observed of the set, whether or not a job observes them."""


def plan_observation(
    recipe: Recipe,
    inputs: Inputs,
    planned: PlannedSet,
    token_scope: TokenScope = "all",
    *,
    wanted: Collection[StatisticsName] = (),
) -> PlannedObservation:
    """Plan the dense pass over a set.

    Args:
        wanted: statistics that variants read. Sums of squares are always observed; if there are others, one job
            observes all of them block by block.
    Raises:
        RecipeError: the set has no tokens of the scope.
    """
    check_token_scope(planned, token_scope)
    parts = split_demonstrations(
        planned.spec.samples,
        max_tokens=planned.spec.max_tokens,
        n_bytes=4 * inputs.model.n_blocks * sum(input_widths(inputs.model).values()),
    )
    batch_tokens = inputs.model.batch_tokens(recipe.compute)
    parameters = {
        "propagation": "dense",
        "token_scope": token_scope,
        **computed_parameters(inputs.model, batch_tokens=batch_tokens),
        **({"parts": len(parts)} if len(parts) > 1 else {}),
    }
    parents = {"base_model": inputs.base.id, "demonstration_set": planned.id}
    identity = make_identity("statistics", parameters, parents=parents)
    further = {name: make_identity(kind, parameters, parents=parents) for name, kind in OBSERVED_KINDS.items()}
    chosen = tuple((name, of_kind) for name, of_kind in further.items() if name in wanted)
    if chosen:
        pass_job = ObserveBlocksJob(
            identity,
            inputs.model,
            planned.id,
            observed=chosen,
            parts=tuple(parts),
            batch_tokens=batch_tokens,
            token_scope=token_scope,
            set_label=planned.label,
            product_bytes=pass_bytes(recipe.compute),
        )
        return PlannedObservation(identity, planned.id, token_scope, (pass_job,), further)
    if len(parts) == 1:
        whole = ObserveJob(identity, inputs.model, planned.id, batch_tokens=batch_tokens, token_scope=token_scope)
        return PlannedObservation(identity, planned.id, token_scope, (whole,), further)
    part_jobs = [
        ObservePartJob(
            make_identity("statistics_parts", {**parameters, "first": part.start, "n": len(part)}, parents=parents),
            inputs.model,
            planned.id,
            statistics_id=identity.id,
            demonstrations=part,
            batch_tokens=batch_tokens,
            token_scope=token_scope,
        )
        for part in parts
    ]
    part_ids = tuple(job.identity.id for job in part_jobs)
    collect_job = CollectPartsJob(identity, inputs.model, planned.id, parts=part_ids, token_scope=token_scope)
    return PlannedObservation(identity, planned.id, token_scope, (*part_jobs, collect_job), further)


def split_demonstrations(n: int, *, max_tokens: int, n_bytes: int) -> list[range]:
    """Split n demonstrations into as few parts as the bounds allow. Sizes of parts differ by at most one.

    Args:
        n: at least 1.
        max_tokens: most tokens of a demonstration.
        n_bytes: bytes of a demonstration's statistics over all blocks.
    """
    most = max(1, min(PART_TOKENS // max_tokens, PART_BYTES // n_bytes))
    n_parts = -(-n // most)
    borders = [part * n // n_parts for part in range(n_parts + 1)]
    return [range(first, last) for first, last in pairwise(borders)]


@lru_cache(maxsize=16)
def input_widths(model: ModelRef) -> dict[str, int]:
    """Width of each distinct input of all kinds of block, from the headers of the weight files.

    One block of each kind is read. An input that has several widths has the largest.
    """
    architecture = architecture_at(model.path)
    files = WeightFiles(Path(model.path), architecture)
    widths: dict[str, int] = {}
    for kind, block in enumerate(map(architecture.kind_of_block.index, range(len(architecture.kinds)))):
        shapes = files.layer_shapes(block)
        for name in architecture.kinds[kind].input_names:
            widths[name] = max(widths.get(name, 0), shapes[name][1])
    return widths
