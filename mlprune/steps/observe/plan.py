"""Plan the dense passes over demonstration sets, and cut large sets into parts.

The cut follows from sizes alone, never from the number of workers: who observes what must not show in the result. A
part is small enough to be held in memory, and large enough to be worth a job.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.families.records import FAMILIES
from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSet, check_token_scope
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, ModelRef, make_identity
from mlprune.steps.observe.jobs import CollectPartsJob, ObserveJob, ObservePartJob
from mlprune.vocabulary import TokenScope

PART_TOKENS = 2**17
"""Tokens of a part, at most: 256 demonstrations of 512 tokens. A model of 564M weights computes about ten minutes on
them on two cores, so that a killed part loses little; sets of a paper's size (100) are one part, with one file a block.
"""
PART_BYTES = 2**28
"""Statistics of a part over all blocks, at most; they are held in memory until the part is written."""


@dataclass(frozen=True)
class PlannedObservation:
    """The dense pass over one set."""

    identity: Identity
    """Of the statistics."""
    demonstration_set_id: str
    token_scope: TokenScope
    jobs: tuple[Job, ...]
    """The last makes the statistics' record."""


def plan_observation(
    recipe: Recipe, inputs: Inputs, planned: PlannedSet, token_scope: TokenScope = "all"
) -> PlannedObservation:
    """The dense pass over a set.

    Raises:
        RecipeError: the set has no tokens of that scope.
    """
    check_token_scope(planned, token_scope)
    parts = split_demonstrations(
        planned.spec.samples,
        max_tokens=planned.spec.max_tokens,
        n_bytes=4 * inputs.model.n_blocks * sum(input_widths(inputs.model).values()),
    )
    batch_tokens = recipe.compute.planned_batch_tokens
    parameters = {
        "propagation": "dense",
        "token_scope": token_scope,
        "dtype": inputs.model.dtype,
        "batch_tokens": batch_tokens,
        **({"parts": len(parts)} if len(parts) > 1 else {}),
    }
    parents = {"base_model": inputs.base.id, "demonstration_set": planned.id}
    identity = make_identity("statistics", parameters, parents=parents)
    whole: dict[str, Any] = {"model": inputs.model, "demonstration_set_id": planned.id, "token_scope": token_scope}
    if len(parts) == 1:
        jobs: tuple[Job, ...] = (ObserveJob(identity, batch_tokens=batch_tokens, **whole),)
        return PlannedObservation(identity, planned.id, token_scope, jobs)
    own = {
        part: make_identity("statistics_parts", {**parameters, "first": part.start, "n": len(part)}, parents=parents)
        for part in parts
    }
    made = [
        ObservePartJob(one, statistics_id=identity.id, demonstrations=part, batch_tokens=batch_tokens, **whole)
        for part, one in own.items()
    ]
    collect = CollectPartsJob(identity, parts=tuple(one.id for one in own.values()), **whole)
    return PlannedObservation(identity, planned.id, token_scope, (*made, collect))


def split_demonstrations(n: int, *, max_tokens: int, n_bytes: int) -> list[range]:
    """Cut n demonstrations into as few parts as the bounds allow, their sizes differing by one at most.

    Args:
        n: at least 1.
        max_tokens: most tokens of a demonstration.
        n_bytes: of a demonstration's statistics over all blocks.
    """
    most = max(1, min(PART_TOKENS // max_tokens, PART_BYTES // n_bytes))
    n_parts = -(-n // most)
    borders = [place * n // n_parts for place in range(n_parts + 1)]
    return [range(first, last) for first, last in pairwise(borders)]


@lru_cache(maxsize=16)
def input_widths(model: ModelRef) -> dict[str, int]:
    """Input -> features of the distinct inputs of a block, from the headers of the weight files.

    All blocks are taken to be like the first.
    """
    family = FAMILIES[model.family]
    files = WeightFiles(Path(model.path), family)
    axis = 0 if family.transposed else 1
    return {name: files.shape(weight_name(family, 0, name))[axis] for name in family.input_names}
