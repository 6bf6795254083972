"""Evaluations in the paper profile: their values by plain loops, and their rows in the catalog."""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from catalog.report.panels.layers import profile_panels
from catalog.sql_files import list_queries
from catalog.store import Catalog
from tests.catalog.query_answers import answers
from tests.tiny_recipes import N_FACTS, FinishedRun

Items = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def opened(profile_run: FinishedRun) -> Iterator[Catalog]:
    with Catalog.in_memory(profile_run.store) as catalog:
        yield catalog


def evaluated(run: FinishedRun, **wanted: Any) -> list[dict[str, Any]]:
    rows = run.rows("evaluations")
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def items_of(run: FinishedRun, evaluation_id: str) -> Items:
    table = run.store.read_table(run.store.require("evaluations", evaluation_id).artefacts[0])
    items: Items = defaultdict(list)
    for values in zip(*table.values(), strict=True):
        row = dict(zip(table, values, strict=True))
        items[row["example_id"]].append(row)
    return items


def published_score(row: dict[str, Any]) -> float:
    return float(row["log_likelihood"] / (row["n_tokens"] + 1))


def test_a_paper_evaluation_predicts_by_the_published_score(profile_run: FinishedRun) -> None:
    rows = evaluated(profile_run, profile="paper", task="facts", example_limit=1000)
    assert len(rows) == 2 * 3
    for row in rows:
        items = items_of(profile_run, row["evaluation_id"])
        assert len(items) == row["n_examples"] == N_FACTS
        hits = 0
        for candidates in items.values():
            scores = [published_score(candidate) for candidate in candidates]
            assert [one["rank"] for one in candidates] == [1 + sum(o > s for o in scores) for s in scores]
            hits += candidates[scores.index(max(scores))]["is_gold"]
        record = profile_run.store.require("evaluations", row["evaluation_id"])
        (accuracy,) = [one for one in record.rows["metrics"] if one["metric"] == "accuracy"]
        assert accuracy["value"] == pytest.approx(hits / N_FACTS)


def test_both_profiles_read_the_same_log_likelihoods(profile_run: FinishedRun) -> None:
    for row in evaluated(profile_run, profile="paper", task="facts", example_limit=1000):
        key = {name: row[name] for name in ("variant_id", "task", "language")}
        (other,) = evaluated(profile_run, **key, profile=None, example_limit=None)
        for name, candidates in items_of(profile_run, row["evaluation_id"]).items():
            others = items_of(profile_run, other["evaluation_id"])[name]
            assert [one["log_likelihood"] for one in candidates] == [one["log_likelihood"] for one in others]


def upside_down(a: list[float], b: list[float]) -> float:
    """RankC as in the published script: sorted ascending, the largest weight first."""
    n = len(a)
    order = [sorted(range(n), key=lambda index: scores[index]) for scores in (a, b)]
    weights = [math.exp(n - j) for j in range(1, n + 1)]
    terms = [w * len(set(order[0][:j]) & set(order[1][:j])) / j for j, w in enumerate(weights, start=1)]
    return sum(terms) / sum(weights)


def test_rank_consistency_of_the_paper_profile_is_upside_down(profile_run: FinishedRun) -> None:
    rows = [row for row in profile_run.rows("rank_consistency") if row.get("profile") == "paper"]
    assert len(rows) == 2 * 3
    for row in rows:
        first, second = (
            {
                name: [published_score(candidate) for candidate in candidates]
                for name, candidates in items_of(profile_run, row[key]).items()
            }
            for key in ("evaluation_id", "reference_evaluation_id")
        )
        expected = sum(upside_down(first[name], second[name]) for name in first) / len(first)
        assert row["value"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_rows_are_marked_and_corrected_queries_do_not_show_paper_rows(opened: Catalog) -> None:
    for table in ("evaluations", "metrics", "internal.comparisons", "rank_consistency", "feature_overlaps"):
        found = {row["profile"] for row in opened.query(f"SELECT DISTINCT profile FROM {table}")}
        assert found == {"corrected", "paper"}, table
    sql = "SELECT evaluation_id FROM evaluations WHERE profile = 'paper'"
    paper = {row["evaluation_id"] for row in opened.query(sql)}
    for view in ("measured", "internal.dense_values", "differences"):
        rows = opened.query(f"SELECT evaluation_id FROM {view}")
        assert rows, view
        assert not paper & {row["evaluation_id"] for row in rows}, view
    values = answers(opened, "values_by_variant")
    assert values
    assert not paper & {row["evaluation_id"] for row in values}
    assert {row["evaluation_id"] for row in answers(opened, "values_by_variant", "profile=paper")} <= paper
    protocols = {row["protocol"] for row in opened.query("FROM internal.protocols")}
    assert protocols >= {None, "paper profile"}
    consistency = answers(opened, "rank_consistency_to_english")
    assert len(consistency) == 2 * 2


def test_the_difference_report_covers_metrics_and_rank_consistency(opened: Catalog, profile_run: FinishedRun) -> None:
    rows = answers(opened, "profile_differences")
    assert {row["compared"] for row in rows} == {"metrics"}
    by_metric = defaultdict(list)
    for row in rows:
        assert row["difference"] == pytest.approx(row["paper_value"] - row["corrected_value"])
        by_metric[row["metric"], row["task"]].append(row)
    accuracies = by_metric["accuracy", "facts"]
    assert {(row["corrected_id"], row["language"]) for row in accuracies} == {
        (variant, language) for variant in profile_run.plan.variants for language in ("en", "fr", "sw")
    }
    assert {(row["n_corrected"], row["n_paper"]) for row in accuracies if row["language"] == "fr"} == {(8, 8)}
    consistency = by_metric["rank_consistency", "facts"]
    assert len(consistency) == 2 * 3
    assert all(row["reference_language"] != row["language"] for row in consistency)
    assert by_metric["bleu", "translation"]
    variant = accuracies[0]["corrected_id"]
    of_variant = answers(opened, "profile_differences", f"variant_id={variant}")
    assert of_variant == [row for row in rows if row["corrected_id"] == variant]


def test_the_report_draws_a_table_per_task_and_metric(opened: Catalog) -> None:
    rows = answers(opened, "profile_differences")
    (group,) = profile_panels(rows)
    titles = [panel.title.split(",")[0] for panel in group.panels]
    assert sorted(set(titles)) == ["facts", "translation"]
    (accuracy,) = [panel for panel in group.panels if "facts, test: accuracy" in panel.title]
    assert accuracy.columns == ("en", "fr", "sw")
    assert len(accuracy.rows) == 2
    french = {row["label"]: row["difference"] for row in rows if (row["metric"], row["language"]) == ("accuracy", "fr")}
    for down, label in enumerate(accuracy.rows):
        assert accuracy.values[down, 1] == french[label]


def test_features_are_compared_at_the_published_share_too(opened: Catalog) -> None:
    rows = opened.query("SELECT profile, share, count(*) AS n FROM feature_overlaps GROUP BY ALL ORDER BY ALL")
    assert [(row["profile"], row["share"]) for row in rows] == [("corrected", 0.4), ("paper", 0.4)]
    assert rows[0]["n"] == rows[1]["n"]
    shown = answers(opened, "feature_overlap_by_depth", "profile=paper")
    assert {row["profile"] for row in shown} == {"paper"}


SHOW_BOTH = {"profile_differences"}
"""Queries that show both profiles, each row with its own."""


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_no_other_query_shows_a_paper_evaluation_by_default(opened: Catalog) -> None:
    sql = "SELECT evaluation_id FROM evaluations WHERE profile = 'paper'"
    paper = {row["evaluation_id"] for row in opened.query(sql)}
    showing = set()
    for query in list_queries():
        if not any(parameter.required for parameter in query.parameters):
            rows = answers(opened, query.name)
            ids = {row[column] for row in rows for column in row if "evaluation_id" in column}
            showing |= {query.name} if ids & paper else set()
    assert showing == SHOW_BOTH
