"""Choose the pairs of variants whose masks are compared: all, or in a large grid those that differ in one choice.

Only variants of equal score, structure, propagation and sparsity are compared. The number of their pairs grows with the
square of a sweep, so a recipe limits it (`analyses.mask_overlaps`). Above the limit only pairs are compared whose
variants differ in exactly one choice, such as their sets or their seed.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, islice

from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.variant import ScoredVariant, of_kind

logger = logging.getLogger(__name__)

QUERIES = (
    "blocks_by_pair",
    "mask_overlap_by_layer",
    "mask_overlap_of_pairs",
    "mask_stability",
    "profile_differences",
)
"""Named queries of the catalog that only contain compared pairs."""

Pair = tuple[str, str]
Groups = Mapping[tuple[object, ...], list[ScoredVariant]]


def overlap_pairs(variants: Iterable[PlannedVariant], *, most: int) -> list[Pair]:
    """Return pairs of variant ids, the smaller id first.

    Args:
        variants: all planned variants; those without a score are skipped.
        most: largest number of pairs. A warning says how many pairs above it are left out.
    Returns: all pairs if there are at most `most`, otherwise the first pairs that differ in one choice.
    """
    groups = _grouped(of_kind(ScoredVariant, (variant.spec for variant in variants)))
    n_pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups.values())
    if n_pairs <= most:
        return [pair for group in groups.values() for pair in _all_pairs(group)]
    pairs = list(islice(_close_pairs(groups), most))
    logger.warning(
        "masks of %d of %d pairs of variants are compared: the other %d pairs are missing from the queries %s "
        "[key='analyses.mask_overlaps', got=%d]",
        len(pairs),
        n_pairs,
        n_pairs - len(pairs),
        ", ".join(QUERIES),
        most,
    )
    return pairs


def _grouped(specs: Iterable[ScoredVariant]) -> Groups:
    """Group the variants that may be compared, in the order of their ids."""
    groups: dict[tuple[object, ...], list[ScoredVariant]] = defaultdict(list)
    for spec in sorted(specs, key=lambda spec: spec.id):
        groups[spec.score.score, spec.score.structure, spec.propagation, spec.sparsity].append(spec)
    return groups


def _all_pairs(group: Iterable[ScoredVariant]) -> Iterator[Pair]:
    return combinations((spec.id for spec in group), 2)


def _close_pairs(groups: Groups) -> Iterator[Pair]:
    """Yield pairs that differ in one choice: first in their sets, then in their seed, then in each other choice."""
    choices = [_choices(spec) for group in groups.values() for spec in group]
    for left_out in range(len(choices[0]) if choices else 0):
        for group in groups.values():
            alike: dict[tuple[object, ...], list[ScoredVariant]] = defaultdict(list)
            for spec in group:
                values = _choices(spec)
                alike[values[:left_out] + values[left_out + 1 :]].append(spec)
            for close in alike.values():
                yield from _all_pairs(close)


def _choices(spec: ScoredVariant) -> tuple[object, ...]:
    """Return all choices in which two variants of a group can differ."""
    calibration = spec.calibration
    score = {name: value for name, value in vars(spec.score).items() if name != "score_parameters"}
    return (
        spec.set_ids,
        spec.score.seed,
        calibration and calibration.contrast_set_id,
        spec.schedule,
        spec.scope,
        spec.profile,
        spec.refinement,
        *(vars(calibration.selection).values() if calibration else ()),
        tuple(score.items()),
        tuple((name, value) for name, value in spec.score.settings.items() if name != "seed"),
    )
