"""Costs of searches and sensitivity analyses: trials, probes, items, and how long they take."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.planning.plan import Plan
from mlprune.planning.resources.estimate import Needs, estimate_duration
from mlprune.planning.resources.node_capacity import Pool
from mlprune.planning.resources.rates import Rates
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import Recipe, searched_entries
from mlprune.steps.demonstrate.writing import set_sizes
from mlprune.steps.evaluate.model_evaluation import EvaluateJob, evaluation_jobs, plan_evaluations
from mlprune.steps.job import JobCost, SetSizes
from mlprune.steps.prune.mask_jobs import variant_jobs
from mlprune.steps.prune.requested_variants import plan_variants
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.search.batches import PlannedSearch, forecast_batches
from mlprune.steps.search.from_recipe import searched_jobs
from mlprune.steps.search.spec import SearchInputs, SearchSpec, derive_recipe, trial_entry
from mlprune.steps.sensitivity.losses import SensitivityJob
from mlprune.steps.tasks.evaluation import task_data

N_SAMPLE_POINTS = 8
"""Points of a space whose masks are costed: with sequential propagation, they need a pass of the model."""
NO_SWEEP = JobCost("sweep")
"""Cost of the masks of a point without a pass of its own."""


@dataclass(frozen=True)
class RungCost:
    """What the trials of one rung need."""

    n_items: int | None
    """Items per language; None for all."""
    batches: tuple[int, ...]
    """Trials of each batch."""
    n_scored: int
    """Items, over all tasks and languages, that one trial scores."""
    trial: JobCost
    """Evaluations of one trial."""
    sweeps: tuple[JobCost, ...] = ()
    """Passes of the model that make the masks of sampled trials; empty if no trial needs one."""
    n_dense: int = 1
    """Evaluations of the dense model in the first batch."""

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return sum(self.batches)

    @property
    def n_items_scored(self) -> int:
        """Items, over all tasks and languages, that all trials score."""
        return self.n_trials * self.n_scored

    def seconds(self, needs: Needs, pool: Pool, rates: Rates) -> float | None:
        """Estimate the duration: batch after batch, with the dense model in the first one; None if a rate is unknown.

        The trials of a batch run at the same time, as far as there are workers.
        """

        @cache
        def batch_seconds(n_trials: int, n_made: int) -> float | None:
            made = [self.sweeps[index % len(self.sweeps)] for index in range(n_made)] if self.sweeps else []
            costs = (*made, *[self.trial] * n_trials)
            duration = estimate_duration(replace(needs, costs=costs), pool, rates)
            return None if duration is None else duration.total_s

        each = [batch_seconds(size + self.n_dense * (index == 0), size) for index, size in enumerate(self.batches)]
        return total_seconds(each)


@dataclass(frozen=True)
class SearchCost:
    """What a search needs from its first batch to its report."""

    search: PlannedSearch
    rungs: tuple[RungCost, ...]
    """Rungs that are reached, ascending."""
    report: RungCost | None
    """Evaluations of the winner and its comparators on the other split, as one batch; None if nothing is reported."""
    n_searched: int = 0
    """Entries of variants whose schedule is the winner; they are planned when the search has finished."""
    searched: RungCost | None = None
    """Their masks and evaluations, as one batch, as if the last point had won; None if there are none."""

    @property
    def n_trials(self) -> int:
        """Most trials."""
        return sum(rung.n_trials for rung in self.rungs)


@dataclass(frozen=True)
class _Costing:
    """What the costs of searches follow from."""

    given: Recipe
    """The whole recipe."""
    common: SearchInputs
    sizes: Footprint
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
            trial = self._of_evaluations(spec.rung_evaluations(n_items))
            of_first = sweeps if rung == batches[0].rung else ()
            rungs.append(RungCost(n_items, of_rung, spec.n_scored(n_items), trial, of_first))
        report = None
        if search.is_reported:
            report = RungCost(None, (1 + len(spec.compare),), 0, self._of_evaluations(spec.report_evaluations))
        n_searched = len(searched_entries(self.given.variants, spec.name))
        return SearchCost(search, tuple(rungs), report, n_searched, self._of_searched(spec))

    def _of_searched(self, spec: SearchSpec) -> RungCost | None:
        """Return the cost of the variants that will have the winner's levels; None without such entries.

        The evaluations of each are counted as those of the variant with the most.
        """
        jobs = searched_jobs(self.given, self.common, spec)
        n_variants = len({key for job in jobs for key in job.makes if key[0] == "variants"})
        if not n_variants:
            return None
        evaluations = [job.cost(self.sizes, self.sets) for job in jobs if isinstance(job, EvaluateJob)]
        sweeps = [job.cost(self.sizes, self.sets) for job in jobs if isinstance(job, SweepJob)]
        trial = max(evaluations, key=lambda cost: cost.flops, default=JobCost("evaluate"))
        n_without = n_variants - len(sweeps) if sweeps else 0
        return RungCost(None, (n_variants,), 0, trial, (*sweeps, *[NO_SWEEP] * n_without), n_dense=0)

    def _of_evaluations(self, entries: Iterable[EvaluationConfig]) -> JobCost:
        """Return the cost of some evaluations of one variant."""
        derived = derive_recipe(self.common.recipe, (), tuple(entries))
        dense = plan_variants(derived, self.common.inputs, self.common.sets.by_profile)
        (job,) = evaluation_jobs(derived, dense, plan_evaluations(derived, self.common.inputs, dense))
        return job.cost(self.sizes, self.sets)

    def _sweeps(self, spec: SearchSpec) -> Iterator[JobCost]:
        """Yield the pass of the model that only the masks of one trial need, for some points of the space."""
        n_points = spec.space.n_points
        for index in range(min(n_points, N_SAMPLE_POINTS)):
            point = spec.space.at(index * n_points // min(n_points, N_SAMPLE_POINTS))
            derived = derive_recipe(self.common.recipe, (trial_entry(spec, point),), ())
            variants = plan_variants(derived, self.common.inputs, self.common.sets.by_profile)
            jobs = [job for job in variant_jobs(derived, self.common.inputs, variants) if job.needs_chain]
            yield jobs[0].cost(self.sizes, self.sets) if jobs else NO_SWEEP


@dataclass(frozen=True)
class SensitivityCost:
    """What the probes of one sensitivity analysis need."""

    name: str
    """Name of the analysis."""
    n_probes: int
    """Variants in which one unit is pruned."""
    evaluations: tuple[RungCost, ...]
    """Evaluations of all probes of one kind of unit, sparsity and task, as one batch."""

    @property
    def n_items_scored(self) -> int:
        """Items, over all tasks and languages, that all probes score."""
        return sum(part.n_items_scored for part in self.evaluations)


def total_seconds(times: Sequence[float | None]) -> float | None:
    """Return the sum of some durations; None if one is unknown."""
    known = [time for time in times if time is not None]
    return sum(known) if len(known) == len(times) else None


def search_costs(plan: Plan, sizes: Footprint) -> tuple[SearchCost, ...]:
    """Return the costs of the searches of a plan.

    Args:
        sizes: of the recipe's model.
    """
    if plan.common is None:
        return ()
    costing = _Costing(plan.recipe, plan.common, sizes, set_sizes(plan.jobs))
    return tuple(map(costing.of_search, plan.searches))


def sensitivity_costs(plan: Plan, sizes: Footprint) -> tuple[SensitivityCost, ...]:
    """Return the costs of the sensitivity analyses of a plan.

    Args:
        sizes: of the recipe's model.
    """
    sets = set_sizes(plan.jobs)
    jobs = {job.identity.id: job for job in plan.jobs if isinstance(job, SensitivityJob)}
    analyses: dict[str, list[SensitivityJob]] = {}
    for name in plan.names:
        if name.kind == "sensitivity" and name.id in jobs:
            analyses.setdefault(name.name, []).append(jobs[name.id])
    return tuple(
        SensitivityCost(
            name,
            len({probe.variant_id for job in of_analysis for probe in job.probes}),
            tuple(_probes_cost(plan, job, sizes=sizes, sets=sets) for job in of_analysis),
        )
        for name, of_analysis in analyses.items()
    )


def _probes_cost(plan: Plan, job: SensitivityJob, *, sizes: Footprint, sets: SetSizes) -> RungCost:
    """Return the cost of the evaluations of all probes of a job, which read the same items."""
    probe, batch_tokens = job.probes[0], plan.model.batch_tokens(plan.recipe.compute)
    evaluation = EvaluateJob(plan.model, probe.evaluations, probe.variant_id, batch_tokens=batch_tokens)
    n_items = sum(len(task_data(one.task).items) for one in probe.evaluations)
    return RungCost(None, (len(job.probes),), n_items, evaluation.cost(sizes, sets))
