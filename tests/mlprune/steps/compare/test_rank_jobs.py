"""Stored RankC, compared with plain computation."""

import hashlib
import math
from collections import defaultdict
from itertools import permutations
from typing import Any

import pytest

from mlprune.steps.compare.rank_jobs import RankConsistencyJob, compares_ranks
from mlprune.steps.evaluate.jobs import EvaluateJob
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


def rank_c(a: list[float], b: list[float], name: str) -> float:
    """RankC of one item by the formula of the paper."""
    n = len(a)
    keys = [hashlib.sha256(f"{name}:{index}".encode()).hexdigest() for index in range(n)]
    ranked = [sorted(range(n), key=lambda index: (-scores[index], keys[index])) for scores in (a, b)]
    weights = [math.exp(n - j) for j in range(1, n + 1)]
    terms = [w * len(set(ranked[0][:j]) & set(ranked[1][:j])) / j for j, w in enumerate(weights, start=1)]
    return sum(terms) / sum(weights)


def test_rank_consistency_rows_are_the_formula_and_the_same_both_ways(
    tiny_run: FinishedRun, tables: dict[str, dict[str, list[Any]]]
) -> None:
    evaluations = {
        (row["variant_id"], row["language"]): mean_scores(tables[row["evaluation_id"]])
        for row in tiny_run.rows("evaluations")
        if row["task"] == "facts"
    }
    rows = {(r["variant_id"], r["language"], r["reference_language"]): r for r in tiny_run.rows("rank_consistency")}
    assert set(rows) == {(v, a, b) for v in tiny_run.plan.variants for a, b in permutations(LANGUAGES, 2)}
    for (variant, a, b), row in rows.items():
        first, second = evaluations[variant, a], evaluations[variant, b]
        expected = sum(rank_c(first[name], second[name], name) for name in first) / len(first)
        assert row["value"] == pytest.approx(expected, rel=1e-12)
        assert (row["n_items"], row["n_skipped"], row["split"]) == (N_FACTS, 0, "test")
        assert row["value"] == rows[variant, b, a]["value"]


def test_tasks_without_candidates_have_no_ranks(tiny_run: FinishedRun) -> None:
    specs = {
        evaluation.task for job in tiny_run.plan.jobs if isinstance(job, EvaluateJob) for evaluation in job.evaluations
    }
    assert {spec.task for spec in specs if compares_ranks(spec)} == {"facts"}
    assert {spec.task for spec in specs if not compares_ranks(spec)} == {"translation", "perplexity"}
    jobs = [job for job in tiny_run.plan.jobs if isinstance(job, RankConsistencyJob)]
    assert {evaluation.task.task for job in jobs for evaluation in job.evaluations} == {"facts"}
