"""Plan the next batch of a search, and forecast the batches before any of them runs.

Plan the next batch of a search: variants and evaluations of a derived recipe, and the job that computes its result.

The next trials follow from the search and its results so far, and from nothing else. A run that was killed, or another
number of workers, therefore plans the same batches.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import inf
from typing import NamedTuple

from mlprune.capabilities.search.batch_result import BatchResultJob, Scored, Trial, evaluated_trials
from mlprune.capabilities.search.removal import REMOVAL_LEVELS
from mlprune.capabilities.search.spec import SearchInputs, SearchSpec, block_contents, plan_part, trial_entry
from mlprune.capabilities.search.strategy.method import EvaluatedTrial, ProposedTrial, rank_key
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS
from mlprune.errors import RecipeError
from mlprune.json_values import JsonObject
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.variants_without_blocks import evaluated_together
from mlprune.steps.job import Job, make_identity
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.store import Store

RIVAL = "rival"
"""Name of the entry of the best earlier trial in a derived recipe."""


class Batch(NamedTuple):
    """A batch of trials that is expected."""

    rung: int
    n_trials: int


def forecast_batches(spec: SearchSpec) -> tuple[Batch, ...]:
    """Return the batches that a search will ask for, as far as their number and sizes do not depend on results.

    A method with rungs or rounds gets simulated results: earlier trials are better, no difference is significant, and
    all constraints are met. Methods that stop trials by rank need exactly these batches, and racing and removal need
    at most as many trials.
    """
    method = SEARCH_METHODS[spec.method]
    if method.uses_rungs or method.removes_units:
        return _played(spec)
    settings = spec.settings
    affordable = settings.n_affordable((), settings.last_rung)
    n_trials = spec.space.n_points if affordable is None else min(affordable, spec.space.n_points)
    n_full, n_left = divmod(n_trials, spec.batch)
    sizes = [spec.batch] * n_full + ([n_left] if n_left else [])
    return tuple(Batch(settings.last_rung, size) for size in sizes)


def _played(spec: SearchSpec) -> tuple[Batch, ...]:
    method, history, batches = spec.build_method(), list[EvaluatedTrial](), list[Batch]()
    while asked := method.ask(history):
        history += [_expected_trial(spec, one, history, number=len(history) + index) for index, one in enumerate(asked)]
        batches.append(Batch(asked[0].rung, len(asked)))
    return tuple(batches)


def _expected_trial(
    spec: SearchSpec, asked: ProposedTrial, history: list[EvaluatedTrial], *, number: int
) -> EvaluatedTrial:
    """Return a trial whose objective is below that of all earlier ones, without significance."""
    settings = spec.settings
    after = max((trial.rung for trial in history if trial.point == asked.point), default=None)
    return EvaluatedTrial(
        number,
        asked.point,
        asked.rung,
        asked.parent,
        n_items=settings.rung_items[asked.rung],
        n_new_items=settings.n_new_items(asked.rung, after=after),
        objective=-float(number),
        violation=0.0,
        p_worse=0.5,
    )


@dataclass(frozen=True)
class PlannedSearch:
    """A search with its planned batches and the results so far."""

    spec: SearchSpec
    history: tuple[EvaluatedTrial, ...] = ()
    """The trials of all finished batches."""
    batches: tuple[BatchResultJob, ...] = ()
    """The planned batches; only the last one may be unfinished."""
    is_finished: bool = False
    """Whether it proposes no more trials."""
    is_reported: bool = True
    """Whether its winner is reported; not that of a random search that another search is compared with."""

    @cached_property
    def id(self) -> str:
        """Id of the search, which follows from what determines its trials, and from the versions of their steps."""
        versions = {kind: RECORD_KINDS[kind].version for kind in ("variants", "search_batches")}
        parameters = {**self.spec.parameters, "versions": versions}
        return make_identity("searches", parameters, parents=self.spec.parents).id

    @property
    def best(self) -> EvaluatedTrial | None:
        """The trial that the method chooses so far; None before any."""
        return SEARCH_METHODS[self.spec.method].winner(self.history)

    @property
    def winner(self) -> EvaluatedTrial | None:
        """The trial that the method chooses so far, if it meets the constraints and has a finite objective."""
        best = self.best
        return best if best is not None and best.is_feasible and best.objective > -inf else None

    @property
    def is_waiting(self) -> bool:
        """Whether the result of its last batch is missing."""
        return len(self.history) < sum(len(batch.trials) for batch in self.batches)

    def with_results(self, store: Store) -> "PlannedSearch":
        """Return the search with the result of its last batch, if the store has it."""
        if not self.is_waiting:
            return self
        last = self.batches[-1]
        record = store.read_record(*last.identity.key)
        if record is None:
            return self
        asked = [trial.proposed for trial in last.trials]
        return replace(self, history=(*self.history, *evaluated_trials(record, asked, direction=self.spec.direction)))


def searches_of(specs: Iterable[SearchSpec]) -> tuple[PlannedSearch, ...]:
    """Return the searches of a recipe before their first batch, each followed by the random one it is compared with."""
    searches: list[PlannedSearch] = []
    for spec in specs:
        searches.append(PlannedSearch(spec))
        if "random" in spec.compare:
            searches.append(PlannedSearch(spec.random_search(), is_reported=False))
    return tuple(searches)


def plan_batch(
    common: SearchInputs, search: PlannedSearch, *, is_known: Callable[[str], bool]
) -> tuple[PlannedSearch, tuple[Job, ...]]:
    """Ask a search that is not waiting for its next batch; return it with the jobs of the batch.

    Args:
        is_known: whether a variant is in the store or is made by another job of the plan.
    Raises:
        RecipeError: a point of the space is not one variant.
    """
    asked = search.spec.build_method().ask(search.history)
    if not asked:
        return replace(search, is_finished=True), ()
    spec = search.spec
    earlier = [trial for trial in search.history if trial.rung == asked[0].rung and spec.removes is None]
    rival = min(earlier, key=rank_key, default=None)
    entries = _entries(spec, asked, rival=rival)
    evaluations = tuple(spec.rung_evaluations(spec.rungs[asked[0].rung]))
    part = plan_part(common, spec, entries, evaluations=evaluations, is_known=is_known)
    scores = _Scores(spec, part.variants, part.evaluations)
    batch = _result_job(search, asked, rival, scores)
    contents = {
        scores.of_entry(_name(index)).variant_id: block_contents(spec, one.point) for index, one in enumerate(asked)
    }
    jobs: Iterable[Job] = in_order_of_blocks(part.jobs, contents)
    if spec.removes is not None and spec.removes.are_blocks:
        jobs = evaluated_together(jobs, {key: removed_in(of_variant) for key, of_variant in contents.items()})
    return replace(search, batches=(*search.batches, batch)), (*jobs, batch)


def removed_in(contents: Mapping[int, tuple[float, ...]]) -> frozenset[int]:
    """Return the blocks that a trial of a search lacks that removes whole blocks, from `block_contents`."""
    return frozenset(block for block, levels in contents.items() if REMOVAL_LEVELS[1] in levels)


def in_order_of_blocks(jobs: Sequence[Job], contents: Mapping[str, Mapping[int, tuple[float, ...]]]) -> list[Job]:
    """Let evaluations of variants that share their first blocks follow each other, and say how many they share.

    Args:
        jobs: the evaluations are moved to the end.
        contents: variant id -> block -> what determines its masks, of the same blocks in the order of the model. Other
            variants come first.
    """
    evaluations = [job for job in jobs if isinstance(job, EvaluateJob)]
    evaluations.sort(key=lambda job: tuple(contents.get(job.variant_id, {}).values()))
    sharing = [
        replace(job, n_shared=_n_shared(*(contents.get(one.variant_id, {}) for one in (job, later))))
        for job, later in pairwise(evaluations)
    ]
    return [*(job for job in jobs if not isinstance(job, EvaluateJob)), *sharing, *evaluations[-1:]]


def _n_shared(first: Mapping[int, tuple[float, ...]], second: Mapping[int, tuple[float, ...]]) -> int:
    """Return the number of the first block that differs; 0 if none does, or one has no blocks."""
    return next((block for block, content in first.items() if content != second.get(block)), 0) if second else 0


def _entries(spec: SearchSpec, asked: Sequence[ProposedTrial], *, rival: EvaluatedTrial | None) -> list[VariantConfig]:
    entries = [trial_entry(spec, one.point, name=_name(index)) for index, one in enumerate(asked)]
    if rival is not None:
        entries.append(trial_entry(spec, rival.point, name=RIVAL))
    return entries


def _name(index: int) -> str:
    return f"trial-{index}"


@dataclass(frozen=True)
class _Scores:
    """The planned variants and evaluations of a batch."""

    spec: SearchSpec
    variants: Mapping[str, PlannedVariant]
    evaluations: Mapping[str, tuple[EvaluationSpec, ...]]

    @property
    def dense(self) -> Scored:
        """The dense model."""
        variant_id = next(variant.id for variant in self.variants.values() if variant.is_dense)
        return Scored(variant_id, self.evaluations[variant_id])

    def of_entry(self, name: str) -> Scored:
        """Return the one variant of an entry.

        Raises:
            RecipeError: it has several.
        """
        ids = [key for key, variant in self.variants.items() if name in {entry.name for entry in variant.entries}]
        if len(ids) != 1:
            message = "a trial has to be one variant: name a demonstration set of one language and seed"
            raise RecipeError(message, search=self.spec.name, expected="1 variant", got=len(ids))
        return Scored(ids[0], self.evaluations[ids[0]])


def _result_job(
    search: PlannedSearch, asked: Sequence[ProposedTrial], rival: EvaluatedTrial | None, scores: _Scores
) -> BatchResultJob:
    known = {one for batch in search.batches for trial in batch.trials for one in trial.scored.evaluation_ids}
    trials: list[Trial] = []
    for index, one in enumerate(asked):
        scored = scores.of_entry(_name(index))
        ids = set(scored.evaluation_ids)
        trials.append(Trial(len(search.history) + index, one, scored, frozenset(ids - known)))
        known |= ids
    dense = scores.dense
    scored_rival = None if rival is None else scores.of_entry(RIVAL)
    parents: JsonObject = {
        "previous": search.batches[-1].identity.id if search.batches else None,
        "variants": [trial.scored.variant_id for trial in trials],
        "evaluations": [one for trial in trials for one in trial.scored.evaluation_ids],
        "dense_evaluations": [*dense.evaluation_ids],
        "rival_evaluations": None if scored_rival is None else [*scored_rival.evaluation_ids],
    }
    number = len(search.batches)
    return BatchResultJob(
        make_identity("search_batches", {"search": search.id, "batch": number}, parents=parents),
        search.spec,
        search.id,
        number,
        tuple(trials),
        dense,
        None if rival is None or scored_rival is None else (rival, scored_rival),
        search.history,
    )
