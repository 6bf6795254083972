"""Stored RankC, compared with plain computation."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product

import pytest

from mlprune.evaluation.rank_agreement import LanguageRankings
from mlprune.numeric.statistics.clusters import Interval
from mlprune.numeric.statistics.sign_flips import SignFlipResult
from mlprune.steps.compare import rank_consistency
from mlprune.steps.compare.rank_consistency import (
    DEV,
    RankConsistencyJob,
    _difference_columns,
    _rankings,
    compares_ranks,
    language_pairs,
)
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.store.store import Store
from tests.mlprune.steps.compare.stored_scores import Table, mean_scores, read_tables
from tests.tiny_recipes import N_FACTS, FinishedRun

PAIRS = (("fr", "en"), ("fr", "sw"), ("sw", "en"))
N_CANDIDATES = 3
Tables = dict[str, Table]
"""Evaluation id -> its predictions."""


@pytest.fixture(scope="module")
def tables(tiny_run: FinishedRun) -> Tables:
    """Evaluation id -> its predictions."""
    return read_tables(tiny_run)


def right_candidates(table: Table) -> dict[str, int]:
    """Example id -> index of the right candidate."""
    columns = zip(table["example_id"], table["candidate_index"], table["is_gold"], strict=True)
    return {name: index for name, index, is_gold in columns if is_gold}


def ranked(scores: list[float], name: str) -> list[int]:
    """Candidates of an item, the best one first."""
    keys = [hashlib.sha256(f"{name}:{index}".encode()).hexdigest() for index in range(len(scores))]
    return sorted(range(len(scores)), key=lambda index: (-scores[index], keys[index]))


def plain_rank_c(first: Sequence[int], second: Sequence[int]) -> float:
    """RankC of two rankings by the formula of the paper."""
    n = len(first)
    weights = [math.exp(n - j) for j in range(1, n + 1)]
    terms = [w * len(set(first[:j]) & set(second[:j])) / j for j, w in enumerate(weights, start=1)]
    return sum(terms) / sum(weights)


def rank_c(a: list[float], b: list[float], name: str) -> float:
    """RankC of the scores of one item."""
    return plain_rank_c(ranked(a, name), ranked(b, name))


def with_gold_at(place: int, *, wrong: Sequence[int]) -> list[int]:
    """A ranking with the right candidate, 0, at a place among the wrong ones."""
    return [*wrong[:place], 0, *wrong[place:]]


def plain_sign_flips(differences: list[float]) -> float:
    """Two-sided p-value over all sign vectors; ties with the observed sum count half, the observed signs fully."""
    observed = abs(sum(differences))
    weights = []
    for signs in product((1, -1), repeat=len(differences)):
        total = abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        is_equal = math.isclose(total, observed, abs_tol=1e-9)
        weights.append(0.5 if is_equal else float(total > observed))
    return (sum(weights) + 0.5) / len(weights)


def scored(run: FinishedRun, tables: Tables) -> dict[tuple[str, str], dict[str, list[float]]]:
    """(variant, language) -> example id -> scores of its candidates."""
    return {
        (row["variant_id"], row["language"]): mean_scores(tables[row["evaluation_id"]])
        for row in run.rows("evaluations")
        if row["task"] == "facts"
    }


def test_every_pair_of_languages_has_one_row_with_the_value_of_the_formula(
    tiny_run: FinishedRun, tables: Tables
) -> None:
    evaluations = scored(tiny_run, tables)
    rows = {(r["variant_id"], r["language"], r["reference_language"]): r for r in tiny_run.rows("rank_consistency")}
    assert set(rows) == {(variant, *pair) for variant in tiny_run.plan.variants for pair in PAIRS}
    for (variant, a, b), row in rows.items():
        first, second = evaluations[variant, a], evaluations[variant, b]
        expected = sum(rank_c(first[name], second[name], name) for name in first) / len(first)
        assert row["value"] == pytest.approx(expected, rel=1e-12)
        assert (row["n_items"], row["n_skipped"], row["n_clusters"], row["split"]) == (N_FACTS, 0, N_FACTS, "test")
        assert row["ci_low"] <= row["value"] <= row["ci_high"]


def test_chance_and_expected_value_are_means_over_rankings(tiny_run: FinishedRun, tables: Tables) -> None:
    """Every item of `facts` has three candidates, so all arrangements can be enumerated."""
    evaluations = scored(tiny_run, tables)
    gold = {
        (row["variant_id"], row["language"]): right_candidates(tables[row["evaluation_id"]])
        for row in tiny_run.rows("evaluations")
        if row["task"] == "facts"
    }
    for row in tiny_run.rows("rank_consistency"):
        assert {len(scores) for scores in evaluations[row["variant_id"], row["language"]].values()} == {N_CANDIDATES}
        everything = [plain_rank_c(range(N_CANDIDATES), order) for order in permutations(range(N_CANDIDATES))]
        assert row["chance"] == pytest.approx(sum(everything) / len(everything), rel=1e-12)
        assert row["corrected"] == pytest.approx((row["value"] - row["chance"]) / (1 - row["chance"]), rel=1e-9)
        sides = [
            [
                ranked(scores, name).index(gold[row["variant_id"], row[key]][name])
                for name, scores in evaluations[row["variant_id"], row[key]].items()
            ]
            for key in ("language", "reference_language")
        ]
        paired = [
            plain_rank_c(with_gold_at(a, wrong=range(1, N_CANDIDATES)), with_gold_at(b, wrong=wrong))
            for a, b in zip(*sides, strict=True)
            for wrong in permutations(range(1, N_CANDIDATES))
        ]
        assert row["expected"] == pytest.approx(sum(paired) / len(paired), rel=1e-12)
        assert row["above_expected"] == pytest.approx(row["value"] - row["expected"], abs=1e-12)
        assert row["above_expected_ci_low"] <= row["above_expected"] <= row["above_expected_ci_high"]


def test_agreement_is_counted_where_both_languages_are_wrong(tiny_run: FinishedRun, tables: Tables) -> None:
    evaluations = scored(tiny_run, tables)
    gold = right_candidates(
        next(tables[r["evaluation_id"]] for r in tiny_run.rows("evaluations") if r["task"] == "facts")
    )
    n_wrong = 0
    for row in tiny_run.rows("rank_consistency"):
        sides = (evaluations[row["variant_id"], row[key]] for key in ("language", "reference_language"))
        answers = [{name: ranked(scores, name)[0] for name, scores in side.items()} for side in sides]
        wrong = [name for name in gold if gold[name] not in (answers[0][name], answers[1][name])]
        same = [name for name in wrong if answers[0][name] == answers[1][name]]
        assert row["n_both_wrong"] == len(wrong)
        n_wrong += len(wrong)
        if wrong:
            assert row["agreement_both_wrong"] == pytest.approx(len(same) / len(wrong))
            assert row["chance_both_wrong"] == pytest.approx(1 / (N_CANDIDATES - 1))
        else:
            assert row["agreement_both_wrong"] is None
    assert n_wrong > 0


def test_a_variant_is_tested_against_dense_on_the_same_items(tiny_run: FinishedRun, tables: Tables) -> None:
    evaluations = scored(tiny_run, tables)
    dense = next(iter(tiny_run.plan.variants))
    for row in tiny_run.rows("rank_consistency"):
        pair = (row["language"], row["reference_language"])
        names = ("baseline_id", "difference", "difference_ci_low", "difference_ci_high", "p_value")
        if row["variant_id"] == dense:
            assert [row[name] for name in names] == [None] * 5
            continue
        own, other = (
            [
                rank_c(evaluations[variant, pair[0]][name], evaluations[variant, pair[1]][name], name)
                for name in evaluations[dense, "en"]
            ]
            for variant in (row["variant_id"], dense)
        )
        differences = [a - b for a, b in zip(own, other, strict=True)]
        assert row["baseline_id"] == dense
        assert row["difference"] == pytest.approx(sum(differences) / len(differences), abs=1e-12)
        assert row["p_value"] == pytest.approx(plain_sign_flips(differences))
        low, high = row["difference_ci_low"], row["difference_ci_high"]
        assert not low < 0 < high if row["p_value"] < 0.05 else low <= 0 <= high


def test_differences_on_dev_are_not_tested() -> None:
    result = SignFlipResult(0.1, 0.01, Interval(0.05, 0.15), Interval(0.06, 0.14))
    tested, chosen = (_difference_columns(result, is_tested=split != DEV) for split in ("test", "dev"))
    assert (tested["p_value"], chosen["p_value"]) == (0.01, None)
    assert {**chosen, "p_value": 0.01} == tested


def test_languages_whose_ids_name_different_items_have_no_row_and_are_named(
    tiny_run: FinishedRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = next(job for job in tiny_run.plan.jobs if isinstance(job, RankConsistencyJob))

    def with_other_answers(store: Store, evaluation: EvaluationSpec) -> LanguageRankings:
        rankings = _rankings(store, evaluation)
        moved = (rankings.gold + 1) % N_CANDIDATES if evaluation.task.language == "sw" else rankings.gold
        return replace(rankings, gold=moved)

    monkeypatch.setattr(rank_consistency, "_rankings", with_other_answers)
    assert set(rank_consistency._agreements(tiny_run.store, job.evaluations)) == {("fr", "en")}
    (warning,) = caplog.messages
    assert "fr and sw, sw and en" in warning


def test_english_is_the_reference_of_its_pairs_and_others_are_in_alphabetical_order() -> None:
    assert language_pairs(["zh", "en", "ar"]) == [("ar", "en"), ("ar", "zh"), ("zh", "en")]
    assert language_pairs(["en"]) == []


def test_tasks_without_candidates_have_no_ranks(tiny_run: FinishedRun) -> None:
    specs = {
        evaluation.task for job in tiny_run.plan.jobs if isinstance(job, EvaluateJob) for evaluation in job.evaluations
    }
    assert {spec.task for spec in specs if compares_ranks(spec)} == {"facts"}
    assert {spec.task for spec in specs if not compares_ranks(spec)} == {"translation", "perplexity"}
    jobs = [job for job in tiny_run.plan.jobs if isinstance(job, RankConsistencyJob)]
    assert {evaluation.task.task for job in jobs for evaluation in job.evaluations} == {"facts"}
