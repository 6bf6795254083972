from typing import Any

import pytest

from catalog.report.panels.seeds import MAX_METHODS, seed_panels
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, TASK, Rows, drawn, texts

ROW: dict[str, Any] = {**TASK, **METHOD, "method": "wanda fr-en", "group_kind": "language", "group_name": "fr"}
ROW |= {"n_seeds": 5, "difference": -0.02, "ci_low": -0.05, "ci_high": 0.01, "seed_deviation": 0.014}
ROW |= {"item_deviation": 0.025}


def test_deviations_are_the_roots_of_the_components_of_the_variance(catalog: Catalog, rows: Rows) -> None:
    stored = {
        (row["seed_components_id"], row["group_kind"], row["group_name"]): row
        for row in catalog.query("FROM seed_components WHERE metric = 'accuracy' AND split = 'test'")
    }
    shown = run_report_query(catalog, "seed_components").rows
    assert len(shown) == len(stored) > 0
    for row in shown:
        components = stored[row["seed_components_id"], row["group_kind"], row["group_name"]]
        for name in ("seed", "item"):
            variance = components[f"{name}_variance"]
            assert row[f"{name}_deviation"] == (None if variance is None else pytest.approx(max(variance, 0) ** 0.5))
        assert (row["difference"], row["ci_low"]) == (components["difference"], components["ci_low"])


def test_a_row_states_its_seeds_and_its_interval_in_the_text_for_screen_readers() -> None:
    mean = {**ROW, "group_kind": "outside_english", "group_name": "", "ci_low": None, "seed_deviation": None}
    (group,) = seed_panels([ROW, mean])
    labels = [panel.label for panel in group.panels]
    assert "fr: wanda fr-en 0.5 (5 seeds) −0.020 (−0.050 to +0.010)" in labels[0]
    assert labels[1].endswith("fr: wanda fr-en 0.5 (5 seeds) 0.014 and 0.025")
    assert labels[2].endswith("mean outside English: wanda fr-en 0.5 (5 seeds) −0.020")
    assert "wanda fr-en 0.5 (5 seeds)" in texts(drawn(group.panels[0]))
    assert "standard deviation" in texts(drawn(group.panels[3]))


def test_of_many_methods_an_even_selection_is_drawn() -> None:
    (group,) = seed_panels([{**ROW, "method": f"method {index}"} for index in range(MAX_METHODS + 3)])
    assert f"{MAX_METHODS} of {MAX_METHODS + 3} methods drawn" in group.panels[0].label
