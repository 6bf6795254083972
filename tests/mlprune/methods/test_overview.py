"""The overview of methods has a row for every method, and loads plug-ins only if asked."""

import sys
from pathlib import Path

import pytest

from mlprune.methods import AGGREGATIONS, REFINERS, SCHEDULES, SCORES, STRUCTURES
from mlprune.methods.overview import BUILT_IN, NOT_LOADED, cost_words, method_rows
from tests.plugin_packages import CUBIC, on_path, write_distribution


def test_every_built_in_method_has_a_row_with_a_cost() -> None:
    registries = {
        "score": SCORES,
        "structure": STRUCTURES,
        "schedule": SCHEDULES,
        "refiner": REFINERS,
        "aggregation": AGGREGATIONS,
    }
    rows = [row for row in method_rows() if row.source == BUILT_IN]
    assert [(row.kind, row.name) for row in rows] == [
        (kind, name) for kind, registry in registries.items() for name in registry
    ]
    assert all(row.cost and row.summary for row in rows)
    by_name = {row.name: row for row in rows}
    assert by_name["ria"].parameters == "power=0.5"
    assert by_name["wanda"].needs == by_name["owl"].needs == "squares"


def test_costs_follow_from_what_a_method_reads() -> None:
    assert cost_words(SCORES["magnitude"]) == "no statistics"
    assert "forward pass" in cost_words(SCORES["wanda"])
    assert "forward pass" in cost_words(SCHEDULES["owl"])
    assert "Gram matrix" in cost_words(SCORES["sparsegpt"])
    assert "new weights" in cost_words(SCORES["sparsegpt"])
    assert cost_words(STRUCTURES["alpha"]) == "one ordering per sparsity"


@pytest.mark.parametrize("loads", [False, True])
def test_plugins_are_listed_from_metadata_and_loaded_if_asked(tmp_path: Path, loads: bool) -> None:
    with on_path(tmp_path) as site:
        names = {"cubic": "cubic_rows:CUBIC", "broken": "cubic_rows:MISSING", "wanda": "cubic_rows:CUBIC"}
        write_distribution(site, {"cubic_rows.py": CUBIC}, {"mlprune.scores": names})
        rows = {row.name: row for row in method_rows(loads=loads) if row.source == "cubic-scores 1.0"}
        assert ("cubic_rows" in sys.modules) == loads
    assert set(rows) == set(names)
    assert "refused" in str(rows["wanda"].summary)
    if loads:
        assert rows["cubic"].formula == "|W[i, j]| ** power * max(floor, ||X_j||_2)"
        assert rows["cubic"].parameters == "power=3.0, floor=0.0"
        assert "refused" in str(rows["broken"].summary)
    else:
        assert rows["cubic"].summary == rows["broken"].summary == NOT_LOADED
