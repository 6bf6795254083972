"""Best variants on dev so far."""

from typing import Any

from catalog.report.query_results import run_report_query
from catalog.serve.watcher import best_tables
from catalog.store import Catalog


def test_the_best_variants_have_the_largest_means_outside_english(
    catalog: Catalog, rows: dict[str, list[dict[str, Any]]]
) -> None:
    found = [
        row
        for row in run_report_query(catalog, "best_on_dev").rows
        if (row["task"], row["metric"]) == ("facts", "accuracy")
    ]
    values: dict[str, list[float]] = {}
    for row in rows["metrics"]:
        if (row["task"], row["split"], row["metric"]) == ("facts", "dev", "accuracy") and row["language"] != "en":
            values.setdefault(row["variant_id"], []).append(row["value"])
    dense = {
        row["variant_id"] for row in catalog.query("FROM described_variants WHERE is_dense OR intervention IS NOT NULL")
    }
    n_languages = max(map(len, values.values()))
    means = sorted(
        (
            sum(members) / len(members)
            for variant, members in values.items()
            if variant not in dense and len(members) == n_languages
        ),
        reverse=True,
    )
    assert [round(row["value"], 9) for row in found] == [round(mean, 9) for mean in means[:5]]
    assert [row["place"] for row in found] == [1, 2, 3, 4, 5]
    assert found[0]["n_variants"] == len(means)
    assert found[0]["dense_value"] is not None


def test_a_table_per_task_and_metric_states_values_and_changes(catalog: Catalog) -> None:
    tables: list[Any] = best_tables(run_report_query(catalog, "best_on_dev").rows)
    titles = [table["title"] for table in tables]
    assert len(set(titles)) == len(titles) > 0
    table = next(table for table in tables if "facts, accuracy, dev split" in table["title"])
    assert len(table["rows"]) == 5
    assert set(table["rows"][0]) == {"label", "value", "change"}


def test_perplexity_is_compared_as_a_ratio_and_names_are_escaped() -> None:
    row: dict[str, Any] = {
        "base_model_id": "b",
        "base_model": "m\x1b",
        "task": "text",
        "metric": "perplexity",
        "scoring_rule": "sum",
    }
    row |= {"example_limit": 8, "n_variants": 1, "n_languages": 2, "label": "<b>\u202e", "value": 30.0}
    row |= {"dense_value": 20.0}
    (table,) = best_tables([row])
    assert table == {
        "title": "m\\x1b · text, perplexity, dev split, 8 examples",
        "note": "1 variant evaluated in 2 languages; scoring rule sum",
        "dense": "20.000",
        "rows": [{"label": "<b>\\u202e", "value": "30.000", "change": "×1.500"}],
    }
    (table,) = best_tables([{**row, "dense_value": None}])
    assert table["rows"][0]["change"] == "–"  # type: ignore[index, call-overload]


def test_without_results_there_is_no_table() -> None:
    assert best_tables([]) == []
