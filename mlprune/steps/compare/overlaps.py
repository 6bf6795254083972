"""Overlaps of masks and of features: the pairs that are compared, and their jobs.

Choose the pairs of variants whose masks are compared: all, named ones, or those that differ in one choice.

Only variants of equal score, structure, propagation and sparsity are compared. The number of their pairs grows with the
square of a sweep, so a recipe limits it (`analyses.mask_overlaps`) and may choose the pairs (`analyses.mask_pairs`).
Above the limit pairs come first whose variants differ in exactly one choice, such as their sets or their seed; unless
the recipe names pairs, only these are compared.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice, permutations
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import RecipeError
from mlprune.json_values import JsonObject
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.masks.keep_masks import jaccard_removed, top_bottom_overlap
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.steps.declared_job import DeclaredJob, Parameter, Parent
from mlprune.steps.job import ChainLoader, JobCost, SetSizes, SmallJob
from mlprune.steps.tasks.task_spec import profile_column
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.variant import of_kind
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import ProfileName

logger = logging.getLogger(__name__)
QUERIES = ("mask_overlap_by_layer", "profile_differences")
"""Named queries of the catalog that only contain compared pairs."""
Pair = tuple[str, str]
MaskPairs = Literal["all", "one_difference"] | tuple[tuple[str, str], ...]
"""Which pairs: all, those that differ in one choice, or those of two named entries."""
Groups = Mapping[tuple[object, ...], list[ScoredVariant]]
Members = Sequence[tuple[frozenset[str], frozenset[str]]]
"""Ids of the variants of two named entries that agree in score, structure, propagation and sparsity."""
PUBLISHED_SHARE = 0.4
"""The share that the published script uses, whatever share is requested."""
MOST_OVERLAPS = 10_000
"""Default of the largest number of pairs of variants whose masks are compared."""


def overlap_pairs(variants: Iterable[PlannedVariant], *, most: int, choice: MaskPairs = "all") -> list[Pair]:
    """Return pairs of variant ids, the smaller id first.

    Args:
        variants: all planned variants; those without a score are skipped.
        most: largest number of pairs. A warning says how many pairs above it are left out.
        choice: the pairs that the recipe asks for.
    Returns: all of these pairs if there are at most `most`, otherwise the first ones: those that differ in one choice,
        then named pairs that differ in several.
    Raises:
        RecipeError: two named entries have no variants that can be compared.
    """
    by_id = {variant.id: variant for variant in variants}
    specs = of_kind(ScoredVariant, (variant.spec for variant in by_id.values()))
    scored, groups = [by_id[spec.id] for spec in specs], _grouped(specs)
    if not isinstance(choice, str):
        members = _members(groups, scored, choice)
        n_pairs = sum(_n_pairs(first, second) for first, second in members)
        close = (pair for pair in _close_pairs(groups) if _is_of(pair, members)) if n_pairs > most else ()
        pairs = list(islice(_distinct(chain(close, *(_pairs_of(first, second) for first, second in members))), most))
        n_pairs = len(pairs) if n_pairs <= most else n_pairs
    elif choice == "one_difference":
        n_pairs = _n_all_pairs(_close_groups(groups))
        pairs = list(islice(_close_pairs(groups), most))
    else:
        n_pairs = _n_all_pairs(groups.values())
        chosen = (pair for group in groups.values() for pair in _all_pairs(group))
        pairs = list(chosen if n_pairs <= most else islice(_close_pairs(groups), most))
    if len(pairs) == n_pairs:
        return pairs
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


def _members(groups: Groups, variants: Iterable[PlannedVariant], choice: Iterable[tuple[str, str]]) -> Members:
    """Return the variants of each pair of names, for each group.

    Raises:
        RecipeError: two names have no pair of variants.
    """
    names = {variant.id: {entry.name for entry in variant.entries} for variant in variants}
    members = []
    for pair in dict.fromkeys(tuple(sorted(pair)) for pair in choice):
        of_pair = [
            (frozenset(ids[0]), frozenset(ids[1]))
            for group in groups.values()
            for ids in [[[spec.id for spec in group if name in names[spec.id]] for name in pair]]
        ]
        if not any(_n_pairs(first, second) for first, second in of_pair):
            expected = "variants that agree in score, structure, propagation and sparsity"
            message = "two entries have no masks to compare"
            raise RecipeError(message, key="analyses.mask_pairs", expected=expected, got=list(pair))
        members += of_pair
    return members


def _n_pairs(first: frozenset[str], second: frozenset[str]) -> int:
    """Return the number of pairs of different variants, one of each set."""
    n_both = len(first & second)
    return len(first) * len(second) - n_both - n_both * (n_both - 1) // 2


def _pairs_of(first: frozenset[str], second: frozenset[str]) -> Iterator[Pair]:
    """Yield the pairs of different variants, one of each set, in the order of their ids; some twice."""
    for a in sorted(first):
        yield from ((min(a, b), max(a, b)) for b in sorted(second) if a != b)


def _is_of(pair: Pair, members: Members) -> bool:
    a, b = pair
    return any((a in first and b in second) or (b in first and a in second) for first, second in members)


def _distinct(pairs: Iterable[Pair]) -> Iterator[Pair]:
    seen: set[Pair] = set()
    for pair in pairs:
        if pair not in seen:
            seen.add(pair)
            yield pair


def _grouped(specs: Iterable[ScoredVariant]) -> Groups:
    """Group the variants that may be compared, in the order of their ids."""
    groups: dict[tuple[object, ...], list[ScoredVariant]] = defaultdict(list)
    for spec in sorted(specs, key=lambda spec: spec.id):
        groups[spec.score.score, spec.score.structure, spec.propagation, spec.sparsity].append(spec)
    return groups


def _all_pairs(group: Iterable[ScoredVariant]) -> Iterator[Pair]:
    return combinations((spec.id for spec in group), 2)


def _n_all_pairs(groups: Iterable[Sequence[ScoredVariant]]) -> int:
    return sum(len(group) * (len(group) - 1) // 2 for group in groups)


def _close_pairs(groups: Groups) -> Iterator[Pair]:
    """Yield pairs that differ in one choice: first in their sets, then in their seed, then in each other choice."""
    return (pair for close in _close_groups(groups) for pair in _all_pairs(close))


def _close_groups(groups: Groups) -> Iterator[list[ScoredVariant]]:
    """Yield the variants that differ in one choice only, in the order of the choices."""
    choices = [_choices(spec) for group in groups.values() for spec in group]
    for left_out in range(len(choices[0]) if choices else 0):
        for group in groups.values():
            alike: dict[tuple[object, ...], list[ScoredVariant]] = defaultdict(list)
            for spec in group:
                values = _choices(spec)
                alike[values[:left_out] + values[left_out + 1 :]].append(spec)
            yield from alike.values()


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


@dataclass(frozen=True)
class MaskOverlapJob(DeclaredJob):
    """Compute the Jaccard index of the removed weights of two variants, for each layer."""

    kind: ClassVar[str] = "mask_overlaps"
    step: ClassVar[str] = "compare"
    variants: Annotated[tuple[str, str], Parent("variants", "variants")]

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Memory for the masks of one block of both variants."""
        return JobCost.per_block(self.step, sizes, 4)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare the masks block by block."""
        both = [require_masks(store, variant) for variant in self.variants]
        rows: list[JsonObject] = []
        for block, files in enumerate(zip(*(stored.files for stored in both), strict=True)):
            first, second = (read_keep_masks(store.uri, artefact, levels) for artefact, levels in files)
            for layer in first:
                row: JsonObject = {
                    "variant_a": self.variants[0],
                    "variant_b": self.variants[1],
                    "block": block,
                    "layer": layer,
                }
                rows.append({**row, "jaccard": jaccard_removed(~first[layer], ~second[layer])})
        store.write_record(self.identity.record(rows={"mask_overlaps": rows}))


@dataclass(frozen=True)
class FeatureOverlapJob(DeclaredJob, SmallJob):
    """Compute the overlaps of the top features of one demonstration set and the bottom features of another."""

    kind: ClassVar[str] = "feature_overlaps"
    step: ClassVar[str] = "compare"
    statistics: Annotated[tuple[str, str], Parent("statistics", "statistics")]
    share: Annotated[float, Parameter()]
    """Share of the features that count as large, and as small."""
    profile: Annotated[ProfileName, Parameter()] = "corrected"

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare the magnitudes after every block."""
        records = [store.require("statistics", statistics_id) for statistics_id in self.statistics]
        sides = [(record.parent("demonstration_set"), read_magnitudes(store, record)) for record in records]
        rows: list[JsonObject] = []
        for (set_a, a), (set_b, b) in permutations(sides):
            keys = {"base_model_id": records[0].parent("base_model"), "set_a": set_a, "set_b": set_b}
            for depth in range(len(a)):
                value = top_bottom_overlap(a[depth], b[depth], self.share)
                row: JsonObject = {**keys, "depth": depth, "share": self.share, "value": value}
                rows.append({**row, **profile_column(self.profile)})
        store.write_record(self.identity.record(rows={"feature_overlaps": rows}))


def read_magnitudes(store: Store, record: Record) -> NDArray[np.float64]:
    """Return the mean magnitudes of the features of a set, [n_blocks + 1, d], from the record of its statistics."""
    artefact = next(file for file in record.artefacts if file.path.startswith("features/"))
    columns = store.read_table(artefact)
    n_depths = max(columns["depth"]) + 1
    return np.asarray(columns["magnitude"], dtype=np.float64).reshape(n_depths, -1)
