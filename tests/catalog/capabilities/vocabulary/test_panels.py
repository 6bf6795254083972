"""Figure of smaller vocabularies: the share of removed weights against the cost of each language."""

import math
from typing import Any

import pytest

from catalog.capabilities.vocabulary.panels import vocabulary_panels
from catalog.report.figures import FIGURES, run_exhibit
from catalog.report.styles import MAX_IN_LEGEND
from catalog.store import Catalog
from tests.catalog.report.rows import drawn, texts

MODEL = {
    "base_model": "tiny",
    "base_model_id": "m",
    "choice": "en sw, frequency, 90 tokens counted",
    "n": 200,
    "n_longer": 0,
}


def paid(language: str, removed: float, cost: float, *, is_kept: bool = True) -> dict[str, Any]:
    ends = {"cost_low": cost - 0.01, "cost_high": cost + 0.01}
    return {
        **MODEL,
        "variant_id": f"v{removed}",
        "language": language,
        "is_kept": is_kept,
        "removed_weights": removed,
        "cost": cost,
        **ends,
    }


ROWS = [
    paid(language, removed, cost, is_kept=language != "hi")
    for language, costs in {"en": (0.02, 0.12), "sw": (0.0, 0.01), "hi": (1.5, 20.0)}.items()
    for removed, cost in zip((0.31, 0.45), costs, strict=True)
]


def test_kept_and_dropped_languages_have_panels_of_their_own() -> None:
    (group,) = vocabulary_panels(ROWS)
    kept, dropped = group.panels
    assert "en sw" in group.title
    assert "0.45" in kept.label
    assert "en +0.120 (+0.110 to +0.130), sw +0.010 (0.000 to +0.020)" in kept.label
    assert "hi +20.000" in dropped.label
    assert "en +" not in dropped.label
    assert [entry.label for entry in group.legend] == ["en", "hi", "sw"]
    assert "200 lines" in group.note


def test_the_axes_show_shares_and_ratios_of_perplexities() -> None:
    (group,) = vocabulary_panels(ROWS)
    kept, dropped = (texts(drawn(panel)) for panel in group.panels)
    assert "kept languages" in kept
    assert {"1", "1.1"} <= set(kept)
    assert "30%" in kept
    assert {"2", "5", "10", "20"} <= set(dropped)


def test_choices_of_tokens_have_figures_of_their_own() -> None:
    name = "en sw, random, seed 1, 90 tokens counted"
    random = [{**row, "choice": name, "variant_id": f"random {row['variant_id']}"} for row in ROWS]
    assert len(list(vocabulary_panels([*ROWS, *random]))) == 2


def test_lines_longer_than_the_model_are_counted_below_the_figure() -> None:
    (group,) = vocabulary_panels([{**row, "n_longer": 3} if row["language"] == "hi" else row for row in ROWS])
    assert "3 in hi" in group.note
    assert "in en" not in group.note
    assert "longer" not in next(iter(vocabulary_panels(ROWS))).note


def test_a_language_without_a_line_that_fits_the_model_is_not_drawn() -> None:
    without = {"cost": None, "cost_low": None, "cost_high": None, "n": 0, "n_longer": 9}
    (group,) = vocabulary_panels([{**row, **without} if row["language"] == "hi" else row for row in ROWS])
    assert [panel.label.split(";")[0] for panel in group.panels] == ["Cost by removed weights, kept languages"]
    assert "9 in hi" in group.note
    assert not list(vocabulary_panels([{**ROWS[0], **without}]))


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_a_single_line_has_a_point_without_an_interval(unknown: float | None) -> None:
    (group,) = vocabulary_panels([{**paid("en", 0.4, 0.1), "cost_low": unknown, "cost_high": unknown, "n": 1}])
    assert len(group.panels) == 1
    assert "kept languages" in drawn(group.panels[0])


def test_of_several_texts_that_of_most_lines_is_drawn() -> None:
    short = [{**row, "n": 10, "cost": 9.0} for row in ROWS]
    (group,) = vocabulary_panels([*short, *ROWS])
    assert sorted(group.rows, key=str) == sorted(ROWS, key=str)


def test_of_many_languages_an_even_selection_is_drawn() -> None:
    (group,) = vocabulary_panels([paid(f"l{number:02}", 0.4, 0.1) for number in range(40)])
    assert f"{MAX_IN_LEGEND} of 40 languages drawn" in group.title
    marks = [(entry.colour, entry.marker, entry.is_hollow) for entry in group.legend]
    assert len(set(marks)) == MAX_IN_LEGEND


def test_the_query_gives_what_the_panel_draws(methods_catalog: Catalog) -> None:
    (exhibit,) = [one for one in FIGURES if one.query == "vocabulary_cost"]
    rows = [row for source in run_exhibit(methods_catalog, exhibit) for row in source.rows]
    (group,) = vocabulary_panels(rows)
    assert group.title.endswith("frequency, 38 tokens counted")
    assert len(group.panels) == 2
    assert all(drawn(panel) for panel in group.panels)
