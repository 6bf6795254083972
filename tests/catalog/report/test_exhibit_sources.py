"""Exhibits run their query once, or for each row of another query."""

from collections.abc import Mapping
from typing import Any

import pytest

from catalog.report import exhibit_sources
from catalog.report.exhibit_sources import run_exhibit
from catalog.report.query_results import Source
from catalog.report.report_examples import EXAMPLES
from catalog.store import Catalog
from mlprune.errors import UnreadableFileError


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

    monkeypatch.setattr(exhibit_sources, "run_report_query", run_report_query)
    return readable


@pytest.mark.parametrize("readable", [["a", "b"], ["b"]])
def test_a_run_without_predictions_is_left_out(catalog: Catalog, runs: list[str], readable: list[str]) -> None:
    runs += readable
    assert [source.parameters["variant_id"] for source in run_exhibit(catalog, EXAMPLES[0])] == readable


def test_an_exhibit_without_predictions_is_empty(catalog: Catalog, runs: list[str]) -> None:
    (source,) = run_exhibit(catalog, EXAMPLES[0])
    assert not source.rows
    assert "item_answers" in source.sql
