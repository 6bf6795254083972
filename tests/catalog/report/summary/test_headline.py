from typing import Any

from catalog.report.labels import number
from catalog.report.summary.headline import headlines
from catalog.store import Catalog

Rows = dict[str, list[dict[str, Any]]]


def test_the_headline_of_a_store_agrees_with_its_records(catalog: Catalog, rows: Rows) -> None:
    (headline,) = headlines(catalog)
    kinds = {row["demonstration_set_id"]: row["kind"] for row in rows["demonstration_sets"]}
    variants = {row["variant_id"]: row for row in rows["variants"]}
    differences = [
        row["difference"]
        for row in rows["comparison_results"]
        if (row["task"], row["split"], row["metric"]) == ("facts", "test", "accuracy")
        and row["language"] != "en"
        and variants[row["variant_id"]]["score"] == "wanda"
        and kinds[variants[row["variant_id"]]["demonstration_set_id"]] == "translation"
        and variants[row["baseline_id"]]["score"] == "random"
    ]
    answers = {finding.question: finding.answer for finding in headline.findings}
    expected = number(sum(differences) / len(differences), signed=True)
    assert answers["Do translation demonstrations beat random pruning? (wanda)"] == expected
    assert [line.cells[0] for line in headline.table] == ["en", "es", "fr", "sw"]
    assert "wanda es-en sequential" in headline.table[0].cells[1]
