"""Overlaps of the experts that demonstration sets of different languages use most, by block."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, ClassVar

from mlprune.capabilities.capability import Planned
from mlprune.capabilities.experts.expert_statistics import KIND, blocks_of, observed_jobs, read_demonstrations
from mlprune.capabilities.experts.overlap import expert_overlap, permutations
from mlprune.capabilities.experts.routing_sums import ROLES, SUMS
from mlprune.json_values import JsonObject
from mlprune.numeric.arrays import Array
from mlprune.steps.declared_job import DeclaredJob, Parameter, Parent
from mlprune.steps.job import ChainLoader, SmallJob
from mlprune.steps.sets import PlannedSet, SetSpec, distinct_sets
from mlprune.store.records import Record
from mlprune.store.store import Store

_SOURCE, _COUNT = ROLES.index("source"), SUMS.index("n_routed")


@dataclass(frozen=True)
class ExpertOverlapJob(DeclaredJob, SmallJob):
    """Compare the most frequent experts of two sets, by the tokens of their source language."""

    kind: ClassVar[str] = "expert_overlaps"
    step: ClassVar[str] = "compare"
    statistics: Annotated[tuple[str, str], Parent(KIND, KIND)]
    share: Annotated[float, Parameter()]

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare every block with experts and write the record."""
        first, second = (store.require(KIND, statistics_id) for statistics_id in self.statistics)
        keys = {
            "base_model_id": first.parent("base_model"),
            "set_a": first.parent("demonstration_set"),
            "set_b": second.parent("demonstration_set"),
        }
        rows: list[JsonObject] = []
        chosen = None
        for block in blocks_of(first):
            a, b = (_counts(store, record, block) for record in (first, second))
            chosen = permutations(len(a), len(b)) if chosen is None else chosen
            overlap = expert_overlap(a, b, self.share, chosen=chosen)
            rows.append({**keys, "block": block, "share": self.share, **vars(overlap)})
        store.write_record(self.identity.record(rows={"expert_overlaps": rows}))


def _counts(store: Store, record: Record, block: int) -> Array:
    """Return the tokens of the source language that each demonstration routes to each expert, [n, experts]."""
    sums, _ = read_demonstrations(store, blocks_of(record)[block])
    return sums[:, :, _SOURCE, _COUNT].numpy()


def expert_overlap_jobs(planned: Planned) -> Iterator[ExpertOverlapJob]:
    """Yield a job for each share and pair of sets in `analyses.experts` that differ in their source language only."""
    analyses = planned.recipe.analyses
    observed = {job.demonstration_set_id: job.identity.id for job in observed_jobs(planned)}
    sets = distinct_sets(planned.sets.default, analyses.experts)
    for share in analyses.overlap_shares:
        for first, second in _pairs(sets):
            yield ExpertOverlapJob((observed[first.id], observed[second.id]), share)


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
