"""Stored comparisons, compared with plain computation."""

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from mlprune.steps.compare.jobs import CompareJob
from mlprune.steps.compare.overlap_jobs import FeatureOverlapJob, MaskOverlapJob
from mlprune.steps.compare.rank_jobs import RankConsistencyJob
from tests.tiny_recipes import N_FACTS, FinishedRun

LANGUAGES = ("en", "fr", "sw")


@pytest.fixture(scope="module")
def tables(tiny_run: FinishedRun) -> dict[str, dict[str, list[Any]]]:
    """Evaluation id -> its predictions."""
    records = tiny_run.store.records("evaluations")
    return {record.id: tiny_run.store.read_table(record.artefacts[0]) for record in records}


def mean_scores(table: dict[str, list[Any]]) -> dict[str, list[float]]:
    """Example id -> scores of its candidates."""
    values: dict[str, list[float]] = defaultdict(list)
    for name, value, n in zip(table["example_id"], table["log_likelihood"], table["n_tokens"], strict=True):
        values[name].append(value / n)
    return values


def right_answers(table: dict[str, list[Any]]) -> np.ndarray:
    """[items] 1 if the right candidate has the highest score."""
    gold = [index for index, is_gold in zip(table["candidate_index"], table["is_gold"], strict=True) if is_gold]
    scores = mean_scores(table).values()
    return np.array(
        [float(item_scores.index(max(item_scores)) == g) for item_scores, g in zip(scores, gold, strict=True)]
    )


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((b == 1) & (a == 0)).sum())
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n
    return min(1.0, 2 * tail)


def test_accuracy_rows_are_the_paired_differences_and_mcnemars_exact_test(
    tiny_run: FinishedRun, tables: dict[str, dict[str, list[Any]]]
) -> None:
    rows = [row for row in tiny_run.rows("comparisons") if (row["task"], row["metric"]) == ("facts", "accuracy")]
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, N_FACTS, size=(1000, N_FACTS), dtype=np.int32)
    assert len(rows) >= 3 * (len(tiny_run.plan.variants) - 1)
    for row in rows:
        a, b = (right_answers(tables[row[key]]) for key in ("evaluation_id", "baseline_evaluation_id"))
        assert row["difference"] == pytest.approx(a.mean() - b.mean(), abs=1e-12)
        low, high = np.quantile((a - b)[drawn].mean(axis=1), [0.025, 0.975])
        assert (row["ci_low"], row["ci_high"]) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
        assert row["p_value"] == pytest.approx(mcnemar(a, b), rel=1e-12)
    assert len({row["difference"] for row in rows}) > 3


def test_perplexity_rows_have_the_normal_p_value_of_the_bootstrap(
    tiny_run: FinishedRun, tables: dict[str, dict[str, list[Any]]]
) -> None:
    rows = [row for row in tiny_run.rows("comparisons") if row["task"] == "perplexity"]
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 4, size=(1000, 4), dtype=np.int32)
    assert {row["language"] for row in rows} == {"en", "fr"}
    for row in rows:
        values, resampled = [], []
        for key in ("evaluation_id", "baseline_evaluation_id"):
            sums, n = (np.array(tables[row[key]][name], dtype=float) for name in ("log_likelihood", "n_tokens"))
            values.append(math.exp(-sums.sum() / n.sum()))
            resampled.append(np.exp(-sums[drawn].sum(axis=1) / n[drawn].sum(axis=1)))
        difference, error = values[0] - values[1], (resampled[0] - resampled[1]).std()
        assert row["difference"] == pytest.approx(difference, rel=1e-9)
        assert row["p_value"] == pytest.approx(math.erfc(abs(difference) / error / math.sqrt(2)), rel=1e-6, abs=1e-15)


def test_p_values_are_corrected_by_holm_over_the_languages_of_one_metric(tiny_run: FinishedRun) -> None:
    families: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in tiny_run.rows("comparisons"):
        families[row["comparison_id"], row["metric"]].append(row)
    for family in families.values():
        assert len({(row["variant_id"], row["baseline_id"], row["task"], row["split"]) for row in family}) == 1
        highest = 0.0
        for index, row in enumerate(sorted(family, key=lambda row: row["p_value"])):
            highest = max(highest, (len(family) - index) * row["p_value"])
            assert row["p_holm"] == pytest.approx(min(1.0, highest), rel=1e-12)
    assert {len(family) for family in families.values()} == {1, 2, 3}


def test_every_variant_is_compared_with_dense_in_every_language(tiny_run: FinishedRun) -> None:
    dense, *pruned = tiny_run.plan.variants
    rows = tiny_run.rows("comparisons")
    for variant in pruned:
        languages = {row["language"] for row in rows if (row["variant_id"], row["baseline_id"]) == (variant, dense)}
        assert languages >= set(LANGUAGES)
    assert not any(row["variant_id"] == row["baseline_id"] for row in rows)


def test_comparisons_need_no_model(tiny_run: FinishedRun) -> None:
    kinds = (CompareJob, RankConsistencyJob, MaskOverlapJob, FeatureOverlapJob)
    assert {job.step for job in tiny_run.plan.jobs if isinstance(job, kinds)} == {"compare"}
    assert not any(job.needs_chain for job in tiny_run.plan.jobs if isinstance(job, kinds))
