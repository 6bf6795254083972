"""Jobs of step `compare` that compute RankC: how similarly two languages rank the candidates. They run no model."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, ClassVar

from mlprune.evaluation.inference.estimates import interval_columns
from mlprune.evaluation.rank_agreement import (
    Agreement,
    LanguageRankings,
    RankConsistency,
    agreement,
    compare_ranks,
    measure_ranks,
)
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.json_values import JsonObject, JsonValue
from mlprune.languages import ENGLISH
from mlprune.numeric.statistics.sign_flips import SignFlipResult
from mlprune.steps.declared_job import DeclaredJob, Evaluations
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.job import ChainLoader, SmallJob
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import TaskSpec, profile_column
from mlprune.store.store import Store
from mlprune.vocabulary import SplitName

logger = logging.getLogger(__name__)

DEV: SplitName = "dev"
Pair = tuple[str, str]
"""Language and reference language."""


@dataclass(frozen=True)
class RankConsistencyJob(DeclaredJob, SmallJob):
    """Compute RankC of one variant between all pairs of its languages on one task and split.

    Profile `paper` ranks the candidates as the published code does, by ascending score: the worst candidate comes
    first and has the largest weight.
    """

    kind: ClassVar[str] = "rank_consistency"
    step: ClassVar[str] = "compare"
    planned_cpu_s: ClassVar[float] = 0.07
    evaluations: Annotated[tuple[EvaluationSpec, ...], Evaluations("evaluations")]
    """They differ only in their language."""
    baseline_evaluations: Annotated[tuple[EvaluationSpec, ...], Evaluations("baseline_evaluations")] = ()
    """Those of the dense variant in the same languages, as far as they exist; empty for itself."""

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write a row for every pair of languages with common items."""
        agreements = _agreements(store, self.evaluations)
        of_baseline = _agreements(store, self.baseline_evaluations)
        compared = [pair for pair in agreements if pair in of_baseline]
        differences = compare_ranks([(agreements[pair], of_baseline[pair]) for pair in compared])
        by_pair = dict(zip(compared, differences, strict=True))
        rows = [self._row(pair, agreements[pair], by_pair.get(pair)) for pair in agreements]
        store.write_record(self.identity.record(rows={"rank_consistency": rows}))

    def _row(self, pair: Pair, agreed: Agreement, difference: SignFlipResult | None) -> JsonObject:
        """Row of one pair of languages."""
        first, second = (next(one for one in self.evaluations if one.task.language == name) for name in pair)
        spec = first.task
        return {
            "variant_id": self.evaluations[0].variant_id,
            "baseline_id": self.baseline_evaluations[0].variant_id if self.baseline_evaluations else None,
            "language": pair[0],
            "reference_language": pair[1],
            "n_items": len(agreed.values),
            "n_skipped": agreed.n_skipped,
            **_value_columns(measure_ranks(agreed)),
            **_wrong_columns(agreed),
            **_difference_columns(difference, is_tested=spec.split != DEV),
            "evaluation_id": first.identity.id,
            "reference_evaluation_id": second.identity.id,
            **spec.family_columns,
            **profile_column(spec.profile),
        }


def language_pairs(languages: Sequence[str]) -> list[Pair]:
    """Return every pair of languages once, in alphabetical order; English is the reference of all its pairs."""
    pairs = combinations(sorted(set(languages)), 2)
    return sorted((b, a) if a == ENGLISH else (a, b) for a, b in pairs)


def compares_ranks(spec: TaskSpec) -> bool:
    """Whether a task has candidates to rank."""
    return spec.definition.reads == "candidates"


def _agreements(store: Store, evaluations: Sequence[EvaluationSpec]) -> dict[Pair, Agreement]:
    """Compare the languages of some evaluations, without pairs that have no item in common.

    Logs the pairs whose ids name different items.
    """
    rankings: Mapping[str, LanguageRankings] = {one.task.language: _rankings(store, one) for one in evaluations}
    agreements = {pair: agreement(*(rankings[name] for name in pair)) for pair in language_pairs(list(rankings))}
    different = [
        " and ".join(pair) for pair, agreed in agreements.items() if agreed.n_skipped and not len(agreed.values)
    ]
    if different:
        task = evaluations[0].task.task
        logger.warning("%s: no rank consistency of %s: their ids name different items", task, ", ".join(different))
    return {pair: agreed for pair, agreed in agreements.items() if len(agreed.values)}


def _rankings(store: Store, evaluation: EvaluationSpec) -> LanguageRankings:
    predictions = predictions_of(store, evaluation)
    assert isinstance(predictions, Predictions), "only choices are ranked"
    return LanguageRankings.of(predictions)


def _value_columns(measured: RankConsistency) -> dict[str, JsonValue]:
    corrected = measured.corrected
    return {
        "n_clusters": measured.n_clusters,
        "value": measured.value.value,
        **interval_columns("ci", measured.value.interval),
        "chance": measured.chance,
        "corrected": None if corrected is None else corrected.value,
        **interval_columns("corrected_ci", None if corrected is None else corrected.interval),
        "expected": measured.expected,
        "above_expected": measured.above_expected.value,
        **interval_columns("above_expected_ci", measured.above_expected.interval),
    }


def _wrong_columns(agreed: Agreement) -> dict[str, JsonValue]:
    """Columns on the items on which both languages are wrong."""
    wrong = agreed.both_wrong == 1
    n_wrong = int(wrong.sum())
    chances = 1 / (agreed.first.rankings.sizes[wrong] - 1)
    return {
        "n_both_wrong": n_wrong,
        "agreement_both_wrong": float(agreed.same_wrong.sum() / n_wrong) if n_wrong else None,
        "chance_both_wrong": float(chances.mean()) if n_wrong else None,
    }


def _difference_columns(difference: SignFlipResult | None, *, is_tested: bool) -> dict[str, JsonValue]:
    """Columns of the paired difference to the baseline; without a p-value on dev, where variants are chosen."""
    return {
        "difference": None if difference is None else difference.difference,
        **interval_columns("difference_ci", None if difference is None else difference.interval),
        "p_value": None if difference is None or not is_tested else difference.p_value,
    }
