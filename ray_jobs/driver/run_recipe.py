"""Run a recipe, from its file to the exit code, with a plan that grows with its results."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from catalog.stored_names import find_variants
from mlprune.errors import BadInputError, StoreError, TransientError
from mlprune.planning import Plan, build_plan, extend_plan, pending_jobs
from mlprune.planning.pending import NO_REMAKE, Remake, RetiredFiles, pending_work, remove_outdated_markers
from mlprune.planning.resources.estimate import Needs, adopted_evaluations, mean_flops, needs_of
from mlprune.planning.resources.node_capacity import format_pool
from mlprune.planning.text.question_lines import question_lines
from mlprune.recipe.models import Recipe
from mlprune.steps.job import Job, RecordKey
from mlprune.steps.prune.result_warnings import variant_warnings
from mlprune.steps.questions.declarations import awaited_variants, declarations
from mlprune.steps.variants.variant_rows import orderings_of
from mlprune.store.claims import STALE_AFTER_S, Claims
from mlprune.store.compaction import compact_if_many
from mlprune.store.records import Record
from mlprune.store.repair import remove_equal_copies, scrub
from mlprune.store.run_log_entries import SearchState
from mlprune.store.store import Store
from mlprune.store.succession import n_quarantined
from ray_jobs.driver.capacity_checks import require_room
from ray_jobs.driver.changed_recipe import NO_CHANGES, RecipeChanges, RecipeSource, load_changed_recipe, recipe_text
from ray_jobs.driver.driver import Driver, fold
from ray_jobs.driver.job_units import JobUnits
from ray_jobs.driver.model_imports import with_imported_models
from ray_jobs.driver.progress import Progress, VisibleConsole
from ray_jobs.driver.run_log import RecordedRecipe, RunLog, begin_run
from ray_jobs.driver.run_state import DONE, RunResult, RunSummary, format_summary, next_commands, summarise
from ray_jobs.driver.workplace import LOCAL_ADDRESSES, Machines, machines, open_metrics, open_workers
from ray_jobs.workers.pool_interface import Workers
from ray_jobs.workers.run_metrics import Metrics

logger = logging.getLogger(__name__)
MAX_ROUNDS = 5
"""How often a run is planned at most; it is planned again if a job finds a damaged artefact."""
MAX_LINES = 10
"""Warnings about variants that are printed one by one."""


@dataclass(frozen=True)
class RunOptions:
    """What a run does in addition to the pending jobs of its recipe, and how long its claims hold."""

    allow_import: bool = False
    """Whether to import the models that the recipe asks to import."""
    scrubs: bool = False
    """Whether to read all artefacts of the recipe first, and make the damaged ones again."""
    remake: Remake = NO_REMAKE
    """Which retired files to make again; its variants are given by id or name."""
    stale_after_s: float = STALE_AFTER_S
    """How long other runs in this store respect our claims if we die on another machine."""


DEFAULTS = RunOptions()


class _Services(NamedTuple):
    """Everything that the rounds of a run share."""

    workers: Workers
    claims: Claims
    metrics: Metrics
    console: Console
    units: JobUnits


class Round(NamedTuple):
    """What one round of a run has to do."""

    jobs: list[Job]
    seen: frozenset[RecordKey]
    """Records that existed before the jobs were planned: only these can be there to be replaced. A record of a pending
    job that appeared later was made by another run."""


class GrowingPlan:
    """A plan with everything that the results in a store allow.

    Args:
        plan: as it was built, without what follows from results.
        store: where the results are.
        remake: which retired files the run makes again.
    """

    def __init__(self, plan: Plan, store: Store, remake: Remake = NO_REMAKE) -> None:
        self._built = plan
        self._store = store
        self._remake = remake
        self._retired: list[RetiredFiles] = []
        """Retired files of what was planned."""
        self._awaited: frozenset[str] = frozenset()
        """The only variants whose jobs are pending, as long as questions wait for their masks."""
        self.plan = extend_plan(plan, store)

    def plan_again(self) -> None:
        """Plan the parts from their start, after records were moved to quarantine."""
        self.plan = extend_plan(self._built, self._store)

    def pending(self, *, repair: bool = False) -> list[Job]:
        """Return the jobs that have to run; see `pending_work`."""
        return self._pending(self.plan.jobs, repair=repair)

    def next_round(self) -> Round:
        """Return the jobs that have to run, after damaged records were moved to the quarantine."""
        seen = frozenset(self._store.record_names())
        return Round(self.pending(repair=True), seen)

    def wait_for(self, variant_ids: frozenset[str]) -> None:
        """Make only the jobs of some variants pending; without any, all jobs."""
        self._awaited = variant_ids

    def _pending(self, jobs: Sequence[Job], *, repair: bool) -> list[Job]:
        jobs = jobs_of_variants(jobs, self._awaited) if self._awaited else jobs
        work = pending_work(jobs, self._store, self._remake, repair=repair)
        self._retired.append(work.retired)
        return work.jobs

    def remove_markers(self) -> None:
        """Remove the markers of the retired files that exist again, and the copies of their unchanged records."""
        for retired in self._retired:
            remove_outdated_markers(self._store, retired)
        if self._remake.is_wanted:
            remove_equal_copies(self._store)

    def next_jobs(self, job: Job) -> Sequence[Job]:
        """Return the jobs that a finished job makes possible, without those that the store has done.

        The questions of a report are recorded before its jobs run.
        """
        if not job.extends_plan:
            return ()
        n_planned = len(self.plan.jobs)
        self.plan = extend_plan(self.plan, self._store)
        self.declare()
        jobs = self.plan.jobs[n_planned:]
        if not self._remake.is_wanted:  # a job that needs a retired file fails and names the command
            return pending_jobs(jobs, self._store, repair=True, lists_all=False)
        return self._pending(jobs, repair=True)

    def label_of(self, variant_id: str) -> str | None:
        """Return the label of a planned variant; None for another id, such as that of a search's trial."""
        variant = self.plan.variants.get(variant_id)
        return None if variant is None else variant.label

    @property
    def search_states(self) -> tuple[SearchState, ...]:
        """How far each search is."""
        return tuple(state for part in self.plan.parts for state in part.states)

    @property
    def records(self) -> list[RecordKey]:
        """(kind, id) of all records that the jobs make or resume from, and of the masks of trials that need no job."""
        made = [key for job in self.plan.jobs for key in (*job.makes, *job.intermediates)]
        variant_ids = dict.fromkeys(one for part in self.plan.parts for one in part.variant_ids)
        return [*made, *orderings_of(self._store, variant_ids)]

    def undeclared(self) -> list[Record]:
        """Return the records of the questions of reports that the store lacks.

        A question keeps the number of results of its first declaration.
        """
        records = [
            self.plan.report_record(report, declarations(report.questions, self._store, can_wait=False))
            for report in self.plan.reports
        ]
        return [record for record in records if self._store.read_record(record.kind, record.id) is None]

    def declare(self) -> None:
        """Record the questions of the reports, which has to be done before their jobs run."""
        for record in self.undeclared():
            self._store.write_record(record)


def run_recipe(
    source: RecipeSource,
    store_uri: str,
    *,
    address: str = "local",
    changes: RecipeChanges = NO_CHANGES,
    options: RunOptions = DEFAULTS,
) -> RunSummary:
    """Run a recipe. Running it again continues with the pending jobs; two runs at once share the jobs.

    Args:
        source: the recipe file, or its content.
        changes: of the recipe, such as fewer demonstrations and items.
    Raises:
        BadInputError: the recipe or something it names cannot be used, or does not fit; nothing is written.
        EarlierVersionError: the store has records of version 0.1; nothing is written.
        StoreError: an object store stopped answering; finished jobs are kept. Or the run needs retired files that it
            is not asked to make again; nothing is written.
    """
    try:
        _require_absolute(store_uri, address)
        Store(store_uri, quarantine=True).require_current_version()
        recipe = load_changed_recipe(source, changes)
        recipe = with_imported_models(recipe, store_uri=store_uri, address=address, is_allowed=options.allow_import)
        with machines(address, recipe.compute.node_labels) as available:
            text = recipe_text(source, changes)
            return _run_recipe(recipe, store_uri, text=text, available=available, address=address, options=options)
    except TransientError as err:
        context = {**err.context, "next": "run the same command again to resume"}
        raise StoreError(err.message, context) from err


def _require_absolute(store_uri: str, address: str) -> None:
    """Check that workers in other folders find the store.

    Raises:
        BadInputError: the store of a run on a cluster is a relative path.
    """
    if address not in LOCAL_ADDRESSES and "://" not in store_uri and not Path(store_uri).is_absolute():
        raise BadInputError(
            "the store of a cluster run needs an absolute path, because workers have other working directories",
            store=store_uri,
            expected="an absolute path or a URI",
        )


def _run_recipe(
    recipe: Recipe, store_uri: str, *, text: str, available: Machines, address: str, options: RunOptions
) -> RunSummary:
    """Run a recipe with its changes.

    Args:
        text: of the recipe, for the log.
    """
    console = VisibleConsole(stderr=True, highlight=False, soft_wrap=True)
    store = Store(store_uri, quarantine=True)
    built = build_plan(recipe, available.nodes)
    growing = GrowingPlan(built, store, _with_ids(options.remake, built, store))
    if options.scrubs:
        n_damaged = scrub(store, growing.records)
        console.print(f"scrub: {n_damaged} records with damaged artefacts moved to quarantine/")
        growing.plan_again()
    plan = growing.plan
    pending = growing.pending()
    declared = declarations(plan.questions, store)
    record = plan.record_with(declared)
    if not pending and store.read_record(record.kind, record.id) and not growing.undeclared():
        console.print(f"nothing to do: all {len(plan.jobs)} jobs of this recipe are done")
        if options.remake.is_wanted:
            growing.remove_markers()
        fold(store, publish=True)
        _print_warnings(console, growing.plan, store)
        return _named(RunSummary(DONE, 0, 0, 0, next_commands=next_commands(plan.recipe, store_uri)), growing.plan)
    store.require_writable()
    expected = [*pending, *expected_jobs(plan, pending)]
    needs = needs_of(plan, expected, adopted=adopted_evaluations(expected, store))
    require_room(needs, store)
    with open_workers(plan, store, address, needs=needs, cluster_nodes=available.node_list) as (workers, pool):
        console.print(f"pool: {format_pool(pool)}; {plan.model.device}, {plan.model.dtype}")
        for line in question_lines(plan, store, declared):
            console.print(line, markup=False)
        store.write_record(record)
        growing.declare()
        recorded = RecordedRecipe(
            plan.recipe.name, record.id, text, {model.base_model_id: model.path for model in plan.models}
        )
        run_id = begin_run(store, "run", address=address, recipe=recorded)
        with Claims(store, run_id, stale_after_s=options.stale_after_s, parts=lambda: workers.running_parts) as claims:
            claims.take(("runs", run_id))  # from now on, no file of the store is retired
            awaited = awaited_variants(plan.questions, declared)
            growing.wait_for(awaited)
            first = growing.next_round()
            metrics = open_metrics(address, run_id, recipe=plan.recipe.name, pool=pool)
            services = _Services(workers, claims, metrics, console, _units(expected, needs))
            result = _run_rounds(growing, store, first, run_id=run_id, services=services)
            if awaited and not result.problem:
                growing.wait_for(frozenset())
                store.write_record(plan.record_with(declarations(plan.questions, store)))
                rest = growing.next_round()
                of_rest = _run_rounds(growing, store, rest, run_id=run_id, services=services, first_number=MAX_ROUNDS)
                result = replace(of_rest, n_done=result.n_done + of_rest.n_done)
            growing.remove_markers()
    compact_if_many(store)
    fold(store, publish=True)
    summary = _named(summarise(result, next_commands(plan.recipe, store_uri)), growing.plan)
    console.print(format_summary(summary, store_uri=store_uri), markup=False)  # errors have square brackets
    _print_warnings(console, growing.plan, store)
    return summary


def _units(jobs: Sequence[Job], needs: Needs) -> JobUnits:
    """Return the units of the jobs that have these needs."""
    job_flops = {job.makes[-1]: cost.flops for job, cost in zip(jobs, needs.costs, strict=True)}
    return JobUnits(mean_flops(needs.costs), job_flops)


def _named(summary: RunSummary, plan: Plan) -> RunSummary:
    return replace(summary, recipe=plan.recipe.name, variants=tuple(plan.variants))


def _print_warnings(console: Console, plan: Plan, store: Store) -> None:
    for line in result_lines(plan, store):
        console.print(line, markup=False)


def _with_ids(remake: Remake, plan: Plan, store: Store) -> Remake:
    """Return what to remake with the ids of its variants.

    Raises:
        StoreError: a variant is not in the store, or not in the recipe.
    """
    ids = find_variants(store, remake.variants) if remake.variants else []
    planned = {variant.id for variant in plan.variants.values()}
    if other := [variant_id for variant_id in ids if variant_id not in planned]:
        raise StoreError(
            "a variant to remake is not in this recipe", got=other[0], expected=f"a variant of {plan.recipe.name}"
        )
    return replace(remake, variants=tuple(ids))


def _run_rounds(
    growing: GrowingPlan, store: Store, first: Round, *, run_id: str, services: _Services, first_number: int = 0
) -> RunResult:
    """Run the jobs. Plan again if a job finds a damaged artefact, or if a record was made again with another result.

    Args:
        first_number: of the rounds in the files of the run.
    """
    jobs, seen = first
    result, n_done = RunResult(0, (), 0), 0
    workers, claims, metrics, console, units = services
    for number in range(first_number, first_number + MAX_ROUNDS):
        console.print(f"run {run_id}: {len(jobs)} of {len(growing.plan.jobs)} jobs to do")
        n_copies = n_quarantined(store)
        if n_copies:
            fold(store)  # a record that is made again with the same bytes is then read again
        with Progress(jobs, parts=lambda: workers.running_parts, units=units) as progress:
            log = RunLog(store, run_id, metrics=metrics, round_=number, units=units)
            driver = Driver(store, log, workers=workers, progress=progress, claims=claims, plan=growing)
            made = {key for job in jobs for key in job.makes}
            present = set(store.record_names())
            result = driver.run(jobs, present=present - made, replaced=seen & present & made)
            n_done += result.n_done
        if result.found_damage:
            scrub(store, growing.records)
        elif n_quarantined(store) == n_copies:  # if not, results of another version were set aside meanwhile
            break
        growing.plan_again()
        if result.problem:
            break
        jobs, seen = growing.next_round()
        if not jobs:
            break
    else:
        problem = f"damage was found in {MAX_ROUNDS} rounds"
        result = replace(result, n_skipped=result.n_skipped + len(jobs), problem=problem)
    return replace(result, n_done=n_done)


def result_lines(plan: Plan, store: Store) -> list[str]:
    """Return the warnings of the parts, and those for variants that are not as asked for."""
    lines = [f"warning: {line}" for line in _variant_lines(plan, store)]
    if len(lines) > MAX_LINES:
        hidden = f"warning: {len(lines) - MAX_LINES} more variants; mlprune check store lists them"
        lines = [*lines[:MAX_LINES], hidden]
    return [*(f"warning: {line}" for part in plan.parts for line in part.warnings()), *lines]


def _variant_lines(plan: Plan, store: Store) -> Iterator[str]:
    for variant_id in plan.variants:
        record = store.read_record("variants", variant_id)
        if record is not None:
            yield from variant_warnings(store, record)


def jobs_of_variants(jobs: Sequence[Job], variant_ids: Iterable[str]) -> list[Job]:
    """Return the jobs that make some variants and what they need, in their order."""
    makers = {key: job for job in jobs for key in job.makes}
    needed: set[RecordKey] = set()
    keys: list[RecordKey] = [("variants", variant_id) for variant_id in variant_ids]
    while keys:
        key = keys.pop()
        if key in makers and key not in needed:
            needed.update(makers[key].makes)
            keys += makers[key].needs
    return [job for job in jobs if not needed.isdisjoint(job.makes)]


def expected_jobs(plan: Plan, pending: Sequence[Job]) -> list[Job]:
    """Return jobs like those that waiting parts will add: the plan has enough memory for them from the start.

    These are the jobs of the models that were evaluated already, if nothing pending is evaluated, and those that differ
    from them.
    """
    waiting = [part for part in plan.parts if part.is_waiting]
    if not waiting:
        return []
    evaluated = () if any(job.needs_chain for job in pending) else plan.jobs
    later = [job for part in waiting for job in part.expected_jobs()]
    return [job for job in (*evaluated, *later) if job.needs_chain]
