"""Ranks on dev, compared with plain computations from the records, and the table of what is kept."""

import statistics
from collections import defaultdict
from typing import Any

import pytest

from catalog.retention import RankingRequest, decision_table, rank_variants
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.store.backend.local_files import FileInfo
from mlprune.store.retention import Decision, MaskFiles, Remaking

Rows = dict[str, list[dict[str, Any]]]


def dev_values(rows: Rows, metric: str, *, languages: tuple[str, ...]) -> dict[str, float]:
    """Variant -> its mean value on dev, of pruned variants."""
    dense = {row["variant_id"] for row in rows["variants"] if row["score"] is None}
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows["metrics"]:
        is_wanted = row["split"] == "dev" and row["metric"] == metric and row["language"] in languages
        if is_wanted and row["variant_id"] not in dense:
            values[row["variant_id"]].append(row["value"])
    return {variant_id: statistics.fmean(each) for variant_id, each in values.items()}


@pytest.mark.parametrize("language", [None, "fr"])
def test_variants_are_ranked_by_their_mean_on_dev(catalog: Catalog, rows: Rows, language: str | None) -> None:
    values = dev_values(rows, "accuracy", languages=(language,) if language else ("en", "fr", "es", "sw"))
    ranking = rank_variants(catalog, RankingRequest(("accuracy",), 3, language=language))
    expected = {one: 1 + sum(other > value + 1e-12 for other in values.values()) for one, value in values.items()}
    assert ranking.ranks == expected
    best = {variant_id for variant_id, rank in expected.items() if rank <= 3}
    by_rank = {variant_id for variant_id, reason in ranking.reasons.items() if reason.startswith("rank ")}
    assert best <= set(ranking.reasons)
    assert by_rank <= best


def test_several_tasks_are_ranked_one_by_one(catalog: Catalog) -> None:
    every = rank_variants(catalog, RankingRequest(("accuracy",), 3)).ranks
    assert rank_variants(catalog, RankingRequest(("accuracy",), 3, tasks=("facts", "facts"))).ranks == every
    sql, values = statement("retention", "ranks"), {"metric": "accuracy", "language": None}
    of_facts = catalog.query(sql, {**values, "tasks": ["facts", "xnli"]})
    assert {row["task"] for row in of_facts} == {"facts"}
    assert catalog.query(sql, {**values, "tasks": ["xnli"]}) == []


def test_what_was_chosen_on_dev_is_kept_whatever_its_rank(catalog: Catalog, rows: Rows) -> None:
    chosen = {row["variant_id"] for row in rows["choices"] if row["is_chosen"]}
    assert chosen
    assert chosen <= set(rank_variants(catalog, RankingRequest()).reasons)
    assert rank_variants(catalog, RankingRequest()).ranks == {}


def test_trials_are_kept_until_their_search_is_finished(catalog: Catalog, rows: Rows) -> None:
    finished = {row["search_id"] for row in rows["searches"]}
    reasons = rank_variants(catalog, RankingRequest()).reasons
    for row in rows["search_trials"]:
        is_trial = reasons.get(row["variant_id"]) == "trial of an unfinished search"
        assert not (is_trial and row["search_id"] in finished)
    assert {row["variant_id"] for row in rows["searches"] if row["variant_id"]} <= set(reasons)


@pytest.mark.parametrize(
    "request_",
    [
        RankingRequest(("acuracy",), 1),
        RankingRequest(("accuracy",), 1, tasks=("facts", "no-such-task")),
        RankingRequest(("accuracy",), 1, language="xx"),
        RankingRequest(("chrf",), 1),  # on test only
    ],
)
def test_there_must_be_values_on_dev_to_rank_by(catalog: Catalog, request_: RankingRequest) -> None:
    with pytest.raises(BadInputError):
        rank_variants(catalog, request_)


def test_the_table_has_a_row_per_ordering_with_size_age_and_reason(catalog: Catalog, rows: Rows) -> None:
    variant_id = rows["variants"][-1]["variant_id"]
    files = (FileInfo("masks/o/block-000.parquet", 3_000_000, 0.0),)
    masks = MaskFiles(
        "o", (variant_id,), files, 2 * 86400.0, Remaking.FROM_STATISTICS, is_current=True, is_complete=True
    )
    table = decision_table(catalog, [Decision(masks, is_retired=True, reason="space", rank=7)])
    (row,) = table.as_dicts()
    assert (row["action"], row["mb"], row["age_days"], row["rank"], row["why"]) == ("retire", 3.0, 2.0, 7, "space")
    labels = dict(catalog.select("SELECT variant_id, label FROM internal.variant_descriptions").rows)
    assert row["variant"] == labels[variant_id]
