"""Which pairs of variants have their masks compared: all, or, in a large grid, those that differ in one thing.

Only variants of equal score, structure, propagation and sparsity are compared at all. Their pairs grow with the square
of a sweep, so a recipe says how many it wants at most (`analyses.mask_overlaps`). Where there are more, pairs stand out
whose variants differ in nothing but their sets, or their seed, or one other choice: of those something can be learnt.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, islice
from typing import Any

from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.variant import VariantSpec

logger = logging.getLogger(__name__)

Pair = tuple[str, str]
Groups = Mapping[tuple[Any, ...], list[VariantSpec]]


def overlap_pairs(variants: Iterable[PlannedVariant], *, most: int) -> list[Pair]:
    """Pairs of ids, the smaller id first.

    Args:
        variants: the dense one and combinations are passed over.
        most: so many pairs at most; above it a line is logged that says what is left out.
    Returns: all pairs if there are no more than `most`; else of the pairs that differ in one choice the first ones.
    """
    groups = _grouped(one.spec for one in variants if one.spec.choice is not None)
    n_pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups.values())
    if n_pairs <= most:
        return [pair for group in groups.values() for pair in _all_pairs(group)]
    pairs = list(islice(_close_pairs(groups), most))
    if most:
        logger.warning(
            "masks of %d of %d pairs of variants are compared, pairs that differ in one choice "
            "[key='analyses.mask_overlaps', got=%d]",
            len(pairs),
            n_pairs,
            most,
        )
    return pairs


def _grouped(specs: Iterable[VariantSpec]) -> Groups:
    """Variants that may be compared, by id."""
    groups: dict[tuple[Any, ...], list[VariantSpec]] = defaultdict(list)
    for spec in sorted(specs, key=lambda one: one.id):
        assert spec.choice is not None, "only what was scored has masks of its own"
        groups[spec.choice.score, spec.choice.structure, spec.propagation, spec.sparsity].append(spec)
    return groups


def _all_pairs(group: Iterable[VariantSpec]) -> Iterator[Pair]:
    return combinations((spec.id for spec in group), 2)


def _close_pairs(groups: Groups) -> Iterator[Pair]:
    """Pairs that differ in one choice, the choices in turn: sets first, then seeds and the rest."""
    choices = [_choices(spec) for group in groups.values() for spec in group]
    for left_out in range(len(choices[0]) if choices else 0):
        for group in groups.values():
            alike: dict[tuple[Any, ...], list[VariantSpec]] = defaultdict(list)
            for spec in group:
                own = _choices(spec)
                alike[own[:left_out] + own[left_out + 1 :]].append(spec)
            for close in alike.values():
                yield from _all_pairs(close)


def _choices(spec: VariantSpec) -> tuple[Any, ...]:
    """Everything in which two variants of a group can differ."""
    assert spec.choice is not None, "only what was scored has masks of its own"
    others = {name: value for name, value in vars(spec.choice).items() if name != "seed"}
    return (
        spec.set_ids,
        spec.choice.seed,
        spec.contrast_set_id,
        spec.schedule,
        spec.scope,
        spec.profile,
        *(vars(spec.reading).values() if spec.reading else ()),
        tuple(others.values()),
    )
