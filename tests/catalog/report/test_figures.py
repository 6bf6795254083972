"""Exhibits are described in their SQL files, and run their query once or for each row of another query."""

from collections.abc import Mapping
from typing import Any

import pytest

from catalog.report import figures
from catalog.report.figures import EXAMPLES, FIGURES, TABLES, read_exhibit, run_exhibit
from catalog.report.query_results import Source, report_query
from catalog.store import Catalog
from mlprune.errors import UnreadableFileError


def test_a_table_has_the_headings_and_intervals_of_its_file() -> None:
    table = read_exhibit("perplexity")
    assert (table.anchor, table.title, table.query) == ("perplexity", "Perplexity", "perplexity")
    assert list(table.columns)[-4:] == ["ratio_to_dense", "p_value", "p_corrected", "n_family"]
    assert table.columns["p_corrected"] == "p, corrected"
    assert table.intervals["ratio_to_dense"] == ("ratio_low", "ratio_high")


def test_a_file_without_a_statement_shows_a_named_query_with_its_defaults() -> None:
    exhibit = read_exhibit("layer_schedule")
    assert (exhibit.query, exhibit.folder, exhibit.is_optional) == ("layer_schedule", "queries", True)
    assert exhibit.parameters == {"variant_id": None, "schedule": None, "with_uniform": False}


def test_every_exhibit_has_an_anchor_of_its_own_and_texts_on_one_line() -> None:
    exhibits = (*FIGURES, *TABLES, *EXAMPLES)
    assert len({exhibit.anchor for exhibit in exhibits}) == len(exhibits)
    for exhibit in exhibits:
        for text in (exhibit.title, exhibit.explanation, exhibit.empty_text):
            assert text == " ".join(text.split()) != ""


def test_the_sql_of_the_page_is_without_the_texts_of_the_page() -> None:
    for exhibit in (*FIGURES, *TABLES, *EXAMPLES):
        sql = report_query(exhibit.query, exhibit.folder)
        assert sql.startswith(f"-- {exhibit.query}: one row per ")
        assert exhibit.title not in sql


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Variants whose predictions are in the store; the query that names the runs has the variants `a` and `b`."""
    readable: list[str] = []

    def run_report_query(
        catalog: Catalog, name: str, *, parameters: Mapping[str, Any] | None = None, **_: Any
    ) -> Source:
        variant = (parameters or {}).get("variant_id", "")
        if name != EXAMPLES[0].runs and variant not in readable:
            raise UnreadableFileError("a file that the query reads cannot be used", path=f"predictions/{variant}")
        return Source(name, "", dict(parameters or {}), ("variant_id",), ({"variant_id": "a"}, {"variant_id": "b"}))

    monkeypatch.setattr(figures, "run_report_query", run_report_query)
    return readable


@pytest.mark.parametrize("readable", [["a", "b"], ["b"]])
def test_a_run_without_predictions_is_left_out(catalog: Catalog, runs: list[str], readable: list[str]) -> None:
    runs += readable
    assert [source.parameters["variant_id"] for source in run_exhibit(catalog, EXAMPLES[0])] == readable


def test_an_exhibit_without_predictions_is_empty(catalog: Catalog, runs: list[str]) -> None:
    (source,) = run_exhibit(catalog, EXAMPLES[0])
    assert not source.rows
    assert "item_answers" in source.sql
