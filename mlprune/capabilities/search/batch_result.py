"""Result of a batch of a search as one record, and the evaluated trials of all batches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar, NamedTuple

import numpy as np

from mlprune.capabilities.search.keys import DirectionName
from mlprune.capabilities.search.measured_sums import read_measured_sums
from mlprune.capabilities.search.spec import SearchSpec
from mlprune.capabilities.search.strategy.method import EvaluatedTrial, ProposedTrial, incumbent
from mlprune.capabilities.search.values import BatchValues
from mlprune.evaluation.inference.estimates import finite, interval_columns
from mlprune.json_values import JsonValue, Row, as_float, as_int, as_list, as_str
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.statistics.bootstrap import N_RESAMPLES
from mlprune.steps.job import ChainLoader, JobCost, RecordJob, RecordKey, SetSizes
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.store.records import Record
from mlprune.store.store import Store

SIGN: Mapping[DirectionName, float] = {"maximise": 1.0, "minimise": -1.0}
"""Direction of a search -> factor with which a higher objective is better."""
BYTES_PER_CLUSTER = 30_000
"""Memory per cluster for signs of one byte and counts of two bytes."""
BYTES_PER_VALUE = 48
"""Memory for a value of a candidate in a resample and a language, with its copies."""


def evaluated_trials(
    record: Record, asked: Sequence[ProposedTrial], *, direction: DirectionName
) -> tuple[EvaluatedTrial, ...]:
    """Return the evaluated trials of a batch.

    Args:
        record: of kind `search_batches`.
        asked: its trials, in order.
    """
    rows = record.rows["search_trials"]
    return tuple(_evaluated_trial(row, one, sign=SIGN[direction]) for row, one in zip(rows, asked, strict=True))


def _evaluated_trial(row: Mapping[str, JsonValue], asked: ProposedTrial, *, sign: float) -> EvaluatedTrial:
    objective, violation, p_worse = (row[name] for name in ("objective", "violation", "p_worse"))
    return EvaluatedTrial(
        number=as_int(row["number"]),
        point=asked.point,
        rung=asked.rung,
        parent=asked.parent,
        n_items=as_int(row["n_items"]),
        n_new_items=as_int(row["n_new_items"]),
        objective=-inf if objective is None else sign * as_float(objective),
        violation=inf if violation is None else as_float(violation),
        p_worse=None if p_worse is None else as_float(p_worse),
        missed=tuple(map(as_str, as_list(row.get("missed") or []))),
    )


class Scored(NamedTuple):
    """A variant with its evaluations at one rung."""

    variant_id: str
    evaluations: tuple[EvaluationSpec, ...]

    @property
    def evaluation_ids(self) -> list[str]:
        """Ids of its evaluations."""
        return [evaluation.identity.id for evaluation in self.evaluations]


@dataclass(frozen=True)
class Trial:
    """A trial of a batch."""

    number: int
    """Of all trials of the search, from 0."""
    proposed: ProposedTrial
    scored: Scored
    new_evaluations: frozenset[str]
    """Ids of its evaluations that the search did not ask for before."""


@dataclass(frozen=True)
class BatchResultJob(RecordJob):
    """Compute the values of the trials of a batch, and decide which are kept. It runs no model."""

    step: ClassVar[str] = "search"
    extends_plan: ClassVar[bool] = True
    spec: SearchSpec
    search_id: str
    batch: int
    """Number of the batch, from 0."""
    trials: tuple[Trial, ...]
    """All at one rung."""
    dense: Scored
    rival: tuple[EvaluatedTrial, Scored] | None
    """The best trial of earlier batches at this rung; None if there is none."""
    history: tuple[EvaluatedTrial, ...]
    """The trials of earlier batches."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Variants and evaluations of all candidates."""
        return required_records(self._candidates)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of the signs and resamples of all clusters, and of the values of all candidates in all resamples."""
        n_values = len(self._candidates) * len(self.dense.evaluations)
        return JobCost.small(self.step, measuring_bytes(self.spec.n_items, n_values=n_values))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compute all values and write the batch."""
        values = batch_values(store, self.spec, self._candidates)
        of_trials = slice(1, 1 + len(self.trials))
        objectives, violations = values.observed[of_trials], values.violations(self.spec.constraints)[of_trials]
        untested = [
            self._evaluated_trial(store, trial, objective=objective, violation=violation)
            for trial, objective, violation in zip(self.trials, objectives, violations, strict=True)
        ]
        evaluated = self._tested(untested, values)
        if self.spec.removes is not None:
            evaluated = [
                replace(trial, missed=self._missed(values, place)) for place, trial in enumerate(evaluated, start=1)
            ]
        decisions = self.spec.build_method().decide(self.history, evaluated)
        n_scored = sum(trial.n_new_items for trial in self.history)
        rows: list[Row] = []
        for index, (trial, decision) in enumerate(zip(evaluated, decisions, strict=True)):
            n_scored += trial.n_new_items
            row = self._row(index, values, trial)
            decided = {"status": "kept" if decision.is_kept else "stopped", "reason": decision.reason}
            rows.append({**row, "n_items_so_far": n_scored, **decided})
        store.write_record(self.identity.record(rows={"search_trials": rows}))

    def _missed(self, values: BatchValues, candidate: int) -> tuple[str, ...]:
        """Return the constraints that a candidate misses."""
        constraints = self.spec.constraints
        return tuple(str(one) for one in constraints if values.violations((one,))[candidate] > 0)

    @property
    def _candidates(self) -> list[Scored]:
        """The dense model, the trials, and the rival."""
        rival = [] if self.rival is None else [self.rival[1]]
        return [self.dense, *(trial.scored for trial in self.trials), *rival]

    def _evaluated_trial(self, store: Store, trial: Trial, *, objective: float, violation: float) -> EvaluatedTrial:
        """Return a trial before it is compared with the incumbent."""
        n_items = {one.identity.id: _n_examples(store, one) for one in trial.scored.evaluations}
        is_number = math.isfinite(objective)
        return EvaluatedTrial(
            number=trial.number,
            point=trial.proposed.point,
            rung=trial.proposed.rung,
            parent=trial.proposed.parent,
            n_items=sum(n_items.values()),
            n_new_items=sum(n for name, n in n_items.items() if name in trial.new_evaluations),
            objective=SIGN[self.spec.direction] * float(objective) if is_number else -math.inf,
            violation=float(violation),
        )

    def _tested(self, evaluated: Sequence[EvaluatedTrial], values: BatchValues) -> list[EvaluatedTrial]:
        """Compare the trials with the incumbent at their rung."""
        rivals = [] if self.rival is None else [self.rival[0]]
        best = incumbent(rivals, evaluated)
        of_incumbent = next(
            place for place, one in enumerate((*evaluated, *rivals), start=1) if one.number == best.number
        )
        others = [place for place in range(1, len(evaluated) + 1) if place != of_incumbent]
        p_values = dict(zip(others, values.p_worse(others, of_incumbent), strict=True))
        return [replace(trial, p_worse=p_values.get(place)) for place, trial in enumerate(evaluated, start=1)]

    def _row(self, index: int, values: BatchValues, trial: EvaluatedTrial) -> Row:
        """Return the row of a trial without the decision."""
        space = self.spec.space
        return {
            "search_id": self.search_id,
            "batch_id": self.identity.id,
            "number": trial.number,
            "batch": self.batch,
            "rung": trial.rung,
            "item_limit": self.spec.rungs[trial.rung],
            "parent": trial.parent,
            "variant_id": self.trials[index].scored.variant_id,
            "point": {**space.values(trial.point), **space.unit_levels(trial.point)},
            "n_items": trial.n_items,
            "n_new_items": trial.n_new_items,
            "objective": finite(float(values.observed[index + 1])),
            **interval_columns("ci", values.interval(index + 1)),
            "dense_objective": finite(float(values.observed[0])),
            "violation": finite(trial.violation),
            "is_feasible": trial.is_feasible and math.isfinite(trial.objective),
            "p_worse": trial.p_worse,
            **({} if self.spec.removes is None else {"missed": list[JsonValue](trial.missed)}),
        }


def required_records(candidates: Sequence[Scored]) -> tuple[RecordKey, ...]:
    """Return (kind, id) of the variants and evaluations of candidates, each once."""
    keys = [("variants", one.variant_id) for one in candidates]
    keys += [evaluation.identity.key for one in candidates for evaluation in one.evaluations]
    return tuple(dict.fromkeys(keys))


def measuring_bytes(n_clusters: int, *, n_values: int) -> int:
    """Return the memory for the signs and resamples of all clusters, and for the values of all candidates in them.

    Args:
        n_values: candidates x languages.
    """
    return BYTES_PER_CLUSTER * n_clusters + BYTES_PER_VALUE * (N_RESAMPLES + n_clusters) * n_values


def batch_values(store: Store, spec: SearchSpec, candidates: Sequence[Scored]) -> BatchValues:
    """Read the values of candidates in a search; the first one is the dense model."""
    measured = {measure: (full.task or "", full.metric or "") for measure, full in spec.measures.items()}
    sums = read_measured_sums(store, [one.evaluations for one in candidates], measured.values())
    kept = [1 - _achieved_sparsity(store, one.variant_id) for one in candidates]
    return BatchValues(spec.objective, SIGN[spec.direction], measured, sums, np.array(kept))


def _n_examples(store: Store, evaluation: EvaluationSpec) -> int:
    return as_int(store.require(*evaluation.identity.key).rows["evaluations"][0]["n_examples"])


def _achieved_sparsity(store: Store, variant_id: str) -> float:
    """Return the share of the prunable weights that a variant lacks; 0 for the dense model."""
    return as_float(store.require("variants", variant_id).rows["variants"][0]["achieved_sparsity"])
