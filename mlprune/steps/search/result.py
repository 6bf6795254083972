"""Result of a search: the winner on dev, its values on the split of the report, and what it is compared with."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from mlprune.evaluation.inference.estimates import finite, interval_columns
from mlprune.hashing import without_defaults
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.interval import Interval
from mlprune.search.trials import EvaluatedTrial
from mlprune.steps.compare.jobs import most_items
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost, SetSizes
from mlprune.steps.search.batch_result import Row, Scored, batch_values, measuring_bytes, required_records
from mlprune.steps.search.measuring.values import BatchValues, varied_interval
from mlprune.steps.search.spec import SearchSpec
from mlprune.store.store import Store

Role = Literal["winner", "uniform", "owl", "dlp", "alpha_pruning", "random"]
DENSE, WINNER = 0, 1
"""Indices of the candidates."""


class Finalist(NamedTuple):
    """A variant that is evaluated on the split of the report."""

    role: Role
    scored: Scored


class Winner(NamedTuple):
    """The winning trial with its evaluations on dev, and those of the dense model at the same rung."""

    trial: EvaluatedTrial
    scored: Scored
    dense: Scored


@dataclass(frozen=True)
class SearchResultJob(RecordJob):
    """Write what a search found. It runs no model."""

    step: ClassVar[str] = "search"
    spec: SearchSpec
    search_id: str
    history: tuple[EvaluatedTrial, ...]
    batches: tuple[RecordKey, ...]
    winner: Winner | None
    """None if no trial of the highest rung meets the constraints: the dense model is reported."""
    dense: Scored
    """The dense model on the split of the report, without evaluations if there are none."""
    finalists: tuple[Finalist, ...]
    """The winner, then what it is compared with; empty without a winner."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The batches, and all variants and evaluations."""
        scored = [self.dense, *(finalist.scored for finalist in self.finalists)]
        if self.winner is not None:
            scored += [self.winner.scored, self.winner.dense]
        return (*self.batches, *required_records(scored))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of the resamples of both splits."""
        limits = [most_items(one.task) for one in self.dense.evaluations]
        n_clusters = max([self.spec.n_items, *limits])
        n_values = (1 + len(self.finalists)) * max(1, len(limits))
        return JobCost(self.step, fixed_bytes=SMALL_JOB_BYTES + measuring_bytes(n_clusters, n_values=n_values))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compute the values on both splits and write the record."""
        candidates = [self.dense, *(finalist.scored for finalist in self.finalists)]
        test = batch_values(store, self.spec, candidates) if self.dense.evaluations else None
        dev = None if self.winner is None else batch_values(store, self.spec, [self.winner.dense, self.winner.scored])
        of_splits = {**self._dev_columns(dev), **self._test_columns(test), **optimism_columns(dev, test)}
        finalists = [
            self._finalist_row(index, finalist, test) for index, finalist in enumerate(self.finalists, start=WINNER)
        ]
        rows = {"searches": [{**self._search_columns, **of_splits}], "search_finalists": finalists}
        keys: Row = {"result_id": self.identity.id, "search_id": self.search_id}
        store.write_record(
            self.identity.record(
                rows={table: [{**keys, **one} for one in of_table] for table, of_table in rows.items()}
            )
        )

    @property
    def _search_columns(self) -> Row:
        """What was searched, how, and at what cost."""
        spec, history = self.spec, self.history
        n_variants = len({trial.point for trial in history})
        return {
            "direction": spec.direction,
            "objective": str(spec.objective),
            "constraints": [str(constraint) for constraint in spec.constraints],
            "method": spec.method,
            "method_parameters": without_defaults(spec.method_parameters),
            "seed": spec.seed,
            "budget": None if spec.budget is None else without_defaults(spec.budget),
            "rungs": list(spec.rungs),
            "n_trials": len(history),
            "n_variants": n_variants,
            "n_items": sum(trial.n_new_items for trial in history),
            "n_items_if_all_were_scored": n_variants * spec.n_scored(None),
        }

    def _dev_columns(self, dev: BatchValues | None) -> Row:
        trial = None if self.winner is None else self.winner.trial
        return {
            "variant_id": None if self.winner is None else self.winner.scored.variant_id,
            "number": None if trial is None else trial.number,
            "item_limit": None if trial is None else self.spec.rungs[trial.rung],
            **_value_columns("dev", dev, WINNER),
            "dev_dense_value": None if dev is None else finite(float(dev.observed[DENSE])),
        }

    def _test_columns(self, test: BatchValues | None) -> Row:
        has_winner = test is not None and self.winner is not None
        return {
            **_value_columns("test", test if has_winner else None, WINNER),
            "test_dense_value": None if test is None else finite(float(test.observed[DENSE])),
        }

    def _finalist_row(self, index: int, finalist: Finalist, test: BatchValues | None) -> Row:
        row: Row = {
            "role": finalist.role,
            "variant_id": finalist.scored.variant_id,
            **_value_columns("test", test, index),
            **dict.fromkeys(("difference", "ci_low", "ci_high", "p_worse")),
        }
        if test is None or index == WINNER:
            return row
        difference, interval = _difference(test, WINNER, index)
        [p_worse] = test.p_worse([index], WINNER)
        return row | {"difference": finite(difference), **interval_columns("ci", interval), "p_worse": p_worse}


def _value_columns(split: str, values: BatchValues | None, candidate: int) -> Row:
    if values is None:
        return dict.fromkeys((f"{split}_value", f"{split}_ci_low", f"{split}_ci_high"))
    return {
        f"{split}_value": finite(float(values.observed[candidate])),
        **interval_columns(f"{split}_ci", values.interval(candidate)),
    }


def _difference(values: BatchValues, first: int, second: int) -> tuple[float, Interval | None]:
    """Return the difference of two candidates with its BCa interval over the shared clusters."""
    observed, resampled, left_out = (
        part[..., first] - part[..., second] for part in (values.observed, values.resampled, values.left_out)
    )
    return float(observed), varied_interval(resampled, float(observed), left_out)


def optimism_columns(dev: BatchValues | None, test: BatchValues | None) -> Row:
    """Return the gain of the winner over dense on dev minus that on the split of the report, with its interval.

    A gain has a positive sign if it is an improvement. The splits are independent: resample r of dev is combined with
    resample r - 1 of the other split, and the jackknife leaves out the clusters of both in turn, each deviation from
    the mean of its own split. The interval is BCa.
    """
    if dev is None or test is None:
        return {"optimism": None, **interval_columns("optimism_ci", None)}
    gains = [_gains(values) for values in (dev, test)]
    value = gains[0].observed - gains[1].observed
    n_resamples = min(len(gain.resampled) for gain in gains)
    resampled = gains[0].resampled[:n_resamples] - np.roll(gains[1].resampled, 1)[:n_resamples]
    deviations = [gain.left_out - gain.left_out.mean() for gain in gains]
    interval = varied_interval(resampled, value, np.concatenate([value + deviations[0], value - deviations[1]]))
    return {"optimism": finite(value), **interval_columns("optimism_ci", interval)}


class _Gains(NamedTuple):
    observed: float
    resampled: Array
    left_out: Array


def _gains(values: BatchValues) -> _Gains:
    observed, resampled, left_out = (
        values.sign * (part[..., WINNER] - part[..., DENSE])
        for part in (values.observed, values.resampled, values.left_out)
    )
    return _Gains(float(observed), np.asarray(resampled), np.asarray(left_out))
