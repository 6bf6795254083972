"""The report of a thousand variants is small enough to mail."""

from pathlib import Path

import pytest

from catalog.report.page import MAX_TABLE_ROWS
from mlprune.store.store import Store
from tests.benchmarks.report_scale import fill, report_figures
from tests.catalog.report.reading import Reader

pytestmark = pytest.mark.slow


def test_the_report_of_a_thousand_variants_is_small_and_leaves_no_line_out(tmp_path: Path) -> None:
    store, out = Store(tmp_path / "store"), tmp_path / "report.html"
    fill(store)
    figures = report_figures(store, out)
    assert figures["variants"] == 964
    assert figures["megabytes"] < 6
    reader = Reader(out.read_text("utf-8"))
    assert len(reader.panels("curves")) == 24
    assert len(reader.panels("cost")) == 9
    lines = {
        (one.attributes["data-score"], one.attributes.get("data-pair"))
        for one in reader.find("g", section="curves")
        if "data-score" in one.attributes
    }
    assert len(lines) == 2 * 14 + 2 + 2  # each score on each set and over all, and what reads none
    assert len(reader.find("tr", section="names")) >= MAX_TABLE_ROWS
