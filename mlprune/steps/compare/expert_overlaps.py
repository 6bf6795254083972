"""Overlaps of the experts that demonstration sets of different languages use most, by block."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar

from mlprune.json_values import JsonObject
from mlprune.numeric.activations.routing import ROLES, SUMS
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.expert_overlap import expert_overlap, permutations
from mlprune.recipe import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, RecordKey, SmallJob, make_identity
from mlprune.steps.observe.expert_statistics import KIND, blocks_of, expert_statistics_jobs, read_demonstrations
from mlprune.steps.sets import PlannedSet, PlannedSets, SetSpec
from mlprune.store.records import Record
from mlprune.store.store import Store

_SOURCE, _COUNT = ROLES.index("source"), SUMS.index("n_routed")


@dataclass(frozen=True)
class ExpertOverlapJob(SmallJob):
    """Compare the most frequent experts of two sets, by the tokens of their source language."""

    step: ClassVar[str] = "compare"
    base_model_id: str
    sets: tuple[str, str]
    statistics: tuple[str, str]
    share: float

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The statistics of both sets."""
        return tuple((KIND, statistics_id) for statistics_id in self.statistics)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare every block with experts and write the record."""
        first, second = (store.require(KIND, statistics_id) for statistics_id in self.statistics)
        rows: list[JsonObject] = []
        chosen = None
        for block in blocks_of(first):
            a, b = (_counts(store, record, block) for record in (first, second))
            chosen = permutations(len(a), len(b)) if chosen is None else chosen
            overlap = expert_overlap(a, b, self.share, chosen=chosen)
            row: JsonObject = {"base_model_id": self.base_model_id, "set_a": self.sets[0], "set_b": self.sets[1]}
            rows.append({**row, "block": block, "share": self.share, **vars(overlap)})
        store.write_record(self.identity.record(rows={"expert_overlaps": rows}))


def _counts(store: Store, record: Record, block: int) -> Array:
    """Return the tokens of the source language that each demonstration routes to each expert, [n, experts]."""
    sums, _ = read_demonstrations(store, blocks_of(record)[block])
    return sums[:, :, _SOURCE, _COUNT].numpy()


def expert_overlap_jobs(recipe: Recipe, inputs: Inputs, sets: PlannedSets) -> Iterator[ExpertOverlapJob]:
    """Yield a job for each share and pair of sets in `analyses.experts` that differ in their source language only."""
    names = recipe.analyses.experts
    observed = {
        job.demonstration_set_id: job.identity.id for job in expert_statistics_jobs(recipe, inputs, sets, names=names)
    }
    planned = {one.id: one for name in names for one in sets[name]}
    for share in recipe.analyses.overlap_shares:
        for first, second in _pairs(planned.values()):
            statistics = (observed[first.id], observed[second.id])
            parents: JsonObject = {KIND: list(statistics)}
            identity = make_identity("expert_overlaps", {"share": share}, parents=parents)
            yield ExpertOverlapJob(identity, inputs.base.id, (first.id, second.id), statistics, share)


def _pairs(planned: Iterable[PlannedSet]) -> Iterator[tuple[PlannedSet, PlannedSet]]:
    for first, second in combinations(sorted(planned, key=lambda one: one.id), 2):
        languages = {first.spec.source, second.spec.source}
        alike = [_without_language(one.spec) for one in (first, second)]
        if len(languages) == 2 and None not in languages and alike[0] == alike[1]:
            yield first, second


def _without_language(spec: SetSpec) -> SetSpec:
    """Return what has to agree in two sets; a token budget gives sets of different languages other numbers of texts."""
    n_samples = 0 if spec.token_budget is not None else spec.samples
    return replace(spec, source=None, path="", hub=None, left_out=(), samples=n_samples)
