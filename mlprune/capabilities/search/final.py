"""Plan the report of a finished search: its winner on dev, and what it is compared with, on a split of their own.

The winner and its comparators are entries of a derived recipe with one declared question for each comparator, so their
comparisons, families of tests and answers are made as those of any recipe.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from mlprune.capabilities.search.batch_result import (
    Scored,
    batch_values,
    measuring_bytes,
    required_records,
)
from mlprune.capabilities.search.batches import PlannedSearch
from mlprune.capabilities.search.spec import (
    PlannedPart,
    SearchInputs,
    SearchSpec,
    plan_part,
    trial_entry,
    with_schedule,
)
from mlprune.capabilities.search.strategy.method import EvaluatedTrial
from mlprune.capabilities.search.strategy.objective import Measure
from mlprune.capabilities.search.values import BatchValues, varied_interval
from mlprune.errors import RecipeError
from mlprune.evaluation.inference.aggregates import AGGREGATED
from mlprune.evaluation.inference.estimates import finite, interval_columns
from mlprune.hashing import without_defaults
from mlprune.json_values import Row
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import Interval
from mlprune.recipe.questions import QuestionConfig
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.compare.comparisons import comparison_jobs
from mlprune.steps.compare.differences import most_items
from mlprune.steps.job import ChainLoader, JobCost, RecordJob, RecordKey, SetSizes, make_identity
from mlprune.steps.part import Report
from mlprune.steps.questions.answers import answer_jobs
from mlprune.steps.questions.asked import asked_baselines, plan_questions
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS

Role = Literal["winner", "uniform", "owl", "dlp", "alpha_pruning", "random"]
DENSE, WINNER = 0, 1
"""Indices of the candidates."""
Variants = Mapping[str, PlannedVariant]


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
        return JobCost.small(self.step, measuring_bytes(n_clusters, n_values=n_values))

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


def plan_final(
    common: SearchInputs, search: PlannedSearch, rival: PlannedSearch | None, *, is_known: Callable[[str], bool]
) -> Report:
    """Plan the evaluations, comparisons and answers of a finished search, and its result.

    Args:
        rival: the finished random search that it is compared with, if any.
        is_known: whether a variant is in the store or is made by another job of the plan.
    """
    entries = dict(_entries(search, rival))
    spec, given = search.spec, list(entries.values())
    part = plan_part(common, spec, given, evaluations=spec.report_evaluations, is_known=is_known)
    result = _result_job(search, entries, part)
    names = ((_name(spec, one.role), one.scored.variant_id) for one in result.finalists)
    report = compared(common, part, names, asked=_questions(spec, entries, part))
    return replace(report, jobs=(*report.jobs, result))


def compared(
    common: SearchInputs,
    part: PlannedPart,
    names: Iterable[tuple[str, str]],
    *,
    asked: Iterable[QuestionConfig] = (),
) -> Report:
    """Return the jobs of a part, then its comparisons and answers.

    Args:
        names: (name, variant) of the variants with names.
        asked: declared questions.
    """
    recipe = part.recipe.model_copy(update={"questions": tuple(asked)})
    of_baselines = asked_baselines(recipe)
    comparisons = comparison_jobs(part.variants, part.evaluations, asked=of_baselines)
    jobs = (*part.jobs, *comparisons)
    questions = plan_questions(recipe, common.inputs, part.variants, jobs=jobs)
    return Report((*jobs, *answer_jobs(questions)), questions, tuple(names))


def _entries(search: PlannedSearch, rival: PlannedSearch | None) -> Iterator[tuple[Role, VariantConfig]]:
    """Yield the entries of the winner and its comparators; nothing without a winner.

    A comparator that does not exist is left out: OWL and DLP for a score without demonstrations, every schedule but
    `uniform` for N:M, and the random search if none of its trials meets the constraints.
    """
    spec, best = search.spec, search.winner
    if best is None:
        return
    yield "winner", trial_entry(spec, best.point, name=_name(spec, "winner"))
    schedules: tuple[Role, ...] = ("uniform", "owl", "dlp", "alpha_pruning")
    for role in schedules:
        if role in spec.compare:
            try:
                yield role, with_schedule(spec, best.point, role, name=_name(spec, role))
            except RecipeError:
                continue
    drawn = None if rival is None else rival.winner
    if drawn is not None:
        yield "random", trial_entry(spec, drawn.point, name=_name(spec, "random"))


def _name(spec: SearchSpec, role: Role) -> str:
    return spec.name if role == "winner" else f"{spec.name}-{role}"


def _questions(spec: SearchSpec, entries: Mapping[Role, VariantConfig], part: PlannedPart) -> Iterator[QuestionConfig]:
    """Yield a question for each comparator that is comparable with the winner: has the winner gained in the objective?

    It is about the first measure of the objective with a test over its languages.
    """
    measure = next(filter(_is_tested, map(spec.complete, spec.objective.measures)), None)
    if measure is None or not spec.report_evaluations:
        return
    planned = {role: _variant_of(entry, part.variants) for role, entry in entries.items()}
    for role, variant in planned.items():
        if variant.id != planned["winner"].id and planned["winner"].is_comparable_with(variant):
            yield QuestionConfig.model_validate(
                {
                    "name": f"{spec.name}-against-{role}",
                    "variants": _name(spec, "winner"),
                    "against": _name(spec, role),
                    "task": measure.task,
                    "languages": _asked(measure),
                    "split": spec.report_evaluations[0].split,
                    "metric": measure.metric,
                },
                context={"tasks": [task.name for task in part.recipe.tasks]},
            )


def _is_tested(measure: Measure) -> bool:
    return measure.metric in (METRIC_TRAITS if measure.group.kind == "language" else AGGREGATED)


def _asked(measure: Measure) -> str:
    """Return a group as a question names it."""
    group = measure.group
    return group.name if group.kind == "language" else f"{group.kind}:{group.name}" if group.name else group.kind


def _variant_of(entry: VariantConfig, variants: Variants) -> PlannedVariant:
    return next(variant for variant in variants.values() if entry in variant.entries)


def _result_job(search: PlannedSearch, entries: Mapping[Role, VariantConfig], part: PlannedPart) -> SearchResultJob:
    variants, evaluations = part.variants, part.evaluations
    ids = {role: _variant_of(entry, variants).id for role, entry in entries.items()}
    finalists = tuple(Finalist(role, Scored(key, evaluations[key])) for role, key in ids.items())
    dense_id = next(variant.id for variant in variants.values() if variant.is_dense)
    dense = Scored(dense_id, evaluations[dense_id])
    best = search.winner
    batches = tuple(batch.identity.key for batch in search.batches)
    scored = (dense, *(finalist.scored for finalist in finalists))
    parents = {
        "batches": [record_id for _, record_id in batches],
        "variants": list(ids.values()) or None,
        "evaluations": [evaluation_id for one in scored for evaluation_id in one.evaluation_ids] or None,
    }
    compared: Mapping[str, str] = {role: key for role, key in ids.items() if role != "winner"}
    return SearchResultJob(
        make_identity("searches", {"search": search.id, "compared": compared}, parents=parents),
        search.spec,
        search.id,
        search.history,
        batches,
        None if best is None else _winner(search, best),
        dense,
        finalists,
    )


def _winner(search: PlannedSearch, best: EvaluatedTrial) -> Winner:
    """Return the winner with the evaluations by which it won."""
    batch = next(batch for batch in search.batches if batch.trials[-1].number >= best.number)
    trial = next(trial for trial in batch.trials if trial.number == best.number)
    return Winner(best, trial.scored, batch.dense)
