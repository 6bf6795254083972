"""What a plan says about its searches: trials, items and durations."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mlprune.capabilities.search.batches import PlannedSearch, forecast_batches
from mlprune.capabilities.search.keys import searched_entries
from mlprune.capabilities.search.searched import searched_jobs
from mlprune.capabilities.search.spec import SearchInputs, SearchSpec, trial_entry
from mlprune.counted import counted
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.steps.evaluate.evaluation_plan import plan_evaluations
from mlprune.steps.evaluate.model_evaluation import (
    EvaluateJob,
    evaluation_jobs,
    evaluations_in,
    without_evaluations,
)
from mlprune.steps.evaluate.variants_without_blocks import n_block_runs
from mlprune.steps.job import JobCost, SetSizes, block_flops
from mlprune.steps.prune.mask_jobs import variant_jobs
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.trials_cost import Seconds, TrialsCost, about, total_seconds

MAX_ROUNDS = 4
"""Rounds of a search whose trials are all listed."""
N_SAMPLE_POINTS = 8
"""Points of a space whose masks are costed: with sequential propagation, they need a pass of the model."""
NO_SWEEP = JobCost("sweep")
"""Cost of the masks of a point without a pass of its own."""


@dataclass(frozen=True)
class SearchCost:
    """What a search needs from its first batch to its report."""

    search: PlannedSearch
    rungs: tuple[TrialsCost, ...]
    """Rungs that are reached, ascending."""
    report: TrialsCost | None
    """Evaluations of the winner and its comparators on the other split, as one batch; None if nothing is reported."""
    n_searched: int = 0
    """Entries of variants whose schedule is the winner; they are planned when the search has finished."""
    searched: TrialsCost | None = None
    """Their masks and evaluations, as one batch, as if the last point had won; None if there are none."""

    @property
    def n_trials(self) -> int:
        """Most trials."""
        return sum(rung.n_trials for rung in self.rungs)


@dataclass(frozen=True)
class Costing:
    """What the costs of searches follow from."""

    common: SearchInputs
    sizes: Footprint
    """Of the recipe's model."""
    sets: SetSizes

    def of_search(self, search: PlannedSearch) -> SearchCost:
        """Return the cost of a search, its report and the variants that will have its winner's levels."""
        spec, batches = search.spec, forecast_batches(search.spec)
        sweeps = tuple(self._sweeps(spec))
        sweeps = () if set(sweeps) == {NO_SWEEP} else sweeps
        rungs = []
        for rung in sorted({batch.rung for batch in batches}):
            n_items = spec.rungs[rung]
            of_rung = tuple(batch.n_trials for batch in batches if batch.rung == rung)
            trial = self._of_evaluations(
                spec.rung_evaluations(n_items), shared=_shared(spec, of_rung, n_blocks=len(self.sizes.blocks))
            )
            of_first = sweeps if rung == batches[0].rung else ()
            rungs.append(TrialsCost(n_items, of_rung, spec.n_scored(n_items), trial, of_first))
        report = None
        if search.is_reported:
            report = TrialsCost(None, (1 + len(spec.compare),), 0, self._of_evaluations(spec.report_evaluations))
        n_searched = len(searched_entries(self.common.given.variants, spec.name))
        return SearchCost(search, tuple(rungs), report, n_searched, self._of_searched(spec))

    def _of_searched(self, spec: SearchSpec) -> TrialsCost | None:
        """Return the cost of the variants that will have the winner's levels; None without such entries.

        The evaluations of each are counted as those of the variant with the most.
        """
        jobs = searched_jobs(self.common, spec)
        n_variants = len({key for job in jobs for key in job.makes if key[0] == "variants"})
        if not n_variants:
            return None
        evaluations = [job.cost(self.sizes, self.sets) for job in jobs if isinstance(job, EvaluateJob)]
        sweeps = [job.cost(self.sizes, self.sets) for job in jobs if isinstance(job, SweepJob)]
        trial = max(evaluations, key=lambda cost: cost.flops, default=JobCost("evaluate"))
        n_without = n_variants - len(sweeps) if sweeps else 0
        return TrialsCost(None, (n_variants,), 0, trial, (*sweeps, *[NO_SWEEP] * n_without), n_dense=0)

    def _of_evaluations(self, entries: Iterable[EvaluationConfig], *, shared: float = 0.0) -> JobCost:
        """Return the cost of some evaluations of one variant.

        Args:
            shared: share of the blocks that need not run for the variant when texts are scored.
        """
        derived, dense = self.common.derived((), entries)
        *_, job = evaluation_jobs(derived, dense, plan_evaluations(derived, self.common.inputs, dense))
        cost = job.cost(self.sizes, self.sets)
        scored = {one.identity.id for one in evaluations_in((job,)) if not one.task.is_generated}
        if not shared or not scored:
            return cost
        n_scored = cost.n_tokens - without_evaluations(job, scored).cost(self.sizes, self.sets).n_tokens
        return replace(cost, flops=cost.flops - shared * block_flops(self.sizes, n_scored))

    def _sweeps(self, spec: SearchSpec) -> Iterator[JobCost]:
        """Yield the pass of the model that only the masks of one trial need, for some points of the space."""
        if spec.removes is not None:
            return
        n_points = spec.space.n_points
        for index in range(min(n_points, N_SAMPLE_POINTS)):
            point = spec.space.at(index * n_points // min(n_points, N_SAMPLE_POINTS))
            derived, variants = self.common.derived((trial_entry(spec, point),), ())
            jobs = [job for job in variant_jobs(derived, self.common.inputs, variants) if job.needs_chain]
            yield jobs[0].cost(self.sizes, self.sets) if jobs else NO_SWEEP


def _shared(spec: SearchSpec, rounds: tuple[int, ...], *, n_blocks: int) -> float:
    """Return the share of the blocks that trials need not run, as one run evaluates a round; 0 for other searches.

    It is that of rounds that remove the first block that is left.
    """
    if spec.removes is None or not spec.removes.are_blocks or spec.units is None:
        return 0.0
    blocks = list(map(int, spec.units.names))
    lacks = [[frozenset((*blocks[:n], block)) for block in blocks[n:]] for n in range(len(rounds))]
    n_runs = sum(n_block_runs(of_round, n_blocks=n_blocks) for of_round in lacks)
    return 1 - n_runs / (sum(rounds) * n_blocks)


def _trials(spec: SearchSpec, rung: TrialsCost) -> str:
    """Return the number of trials as text; of a search that removes units, with those of each round."""
    trials, rounds = counted(rung.n_trials, "trial"), rung.batches
    if spec.removes is None:
        return trials
    shown = rounds if len(rounds) <= MAX_ROUNDS else (*rounds[:2], "...", rounds[-1])
    return f"{' + '.join(map(str, shown))} = {trials}"


def search_lines(cost: SearchCost, seconds: Seconds) -> Iterator[str]:
    """Yield one line each for a search, its rungs, its report, the whole, and the entries with its winner's levels."""
    spec, n_done = cost.search.spec, len(cost.search.history)
    done = f", {n_done} done" if n_done else ""
    space = counted(spec.space.n_points, "point") if spec.removes is None else counted(len(spec.space.sizes), "unit")
    yield f"search {spec.name}: {spec.method}, at most {counted(cost.n_trials, 'trial')} of {space}{done}"
    times = [seconds(rung) for rung in cost.rungs]
    for rung, time in zip(cost.rungs, times, strict=True):
        n_items = f"all {spec.n_items}" if rung.n_items is None else str(rung.n_items)
        items = f"{rung.n_items_scored:,} items over all languages"
        yield f"  {n_items} items: {_trials(spec, rung)}, {items}, {about(time)}"
    if cost.report is not None:
        times.append(seconds(cost.report))
        splits = " and ".join(dict.fromkeys(entry.split for entry in spec.report_evaluations))
        yield f"  report: {counted(cost.report.n_trials, 'variant')} and dense on {splits}, {about(times[-1])}"
    yield f"  whole search: {about(total_seconds(times))}; start-up, statistics, masks and small jobs not included"
    if cost.n_searched:
        entries = counted(cost.n_searched, "variant entry", "variant entries")
        has_no_winner = cost.search.is_finished and cost.search.winner is None
        time_words = "" if cost.searched is None else f"{about(seconds(cost.searched))}, "
        planned = f"{time_words}planned when the search has finished"
        later = "not made: the search has no winner" if has_no_winner else planned
        yield f"  {entries} with the winner's levels: {later}"
