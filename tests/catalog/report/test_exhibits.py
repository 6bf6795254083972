"""Colours and cells of heat maps, shared marks, selections of what is drawn, and what every exhibit shows."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from catalog.report import figures
from catalog.report.exhibits import (
    STEPS,
    Grid,
    Group,
    Panel,
    Scale,
    Size,
    draw_grid,
    english_first,
    evenly_spaced,
    has_several_rules,
    luminance,
    omission_note,
    style_rules,
)
from catalog.report.figures import EXAMPLES, FIGURES, TABLES, read_exhibit, run_exhibit
from catalog.report.query_results import Source, report_query
from catalog.store import Catalog
from mlprune.errors import UnreadableFileError
from tests.catalog.report.drawn import drawn_contract, pinned
from tests.catalog.report.rows import TASK, drawn, texts
from tests.golden.comparison import differences


@pytest.mark.thorough("renders pages of its own")
def test_all_methods_of_a_figure_differ_in_their_marks(catalog: Catalog, methods_catalog: Catalog) -> None:
    for opened in (catalog, methods_catalog):
        for exhibit in FIGURES:
            rows = [source.rows for source in run_exhibit(opened, exhibit)]
            for group in (group for part in rows if exhibit.draw for group in exhibit.draw(part)):
                marks = [
                    (one.colour, one.marker, one.is_hollow, one.dashed) for one in group.legend if one.scale is None
                ]
                assert len(set(marks)) == len(marks), (exhibit.anchor, group.title)


@pytest.mark.thorough("renders pages of its own")
def test_every_exhibit_shows_what_is_pinned(methods_catalog: Catalog) -> None:
    assert differences(drawn_contract(methods_catalog), pinned()) == []


CHANGES = Scale(-0.2, 0.2, is_diverging=True)


def test_a_scale_covers_its_range_and_no_change_is_in_the_middle() -> None:
    assert [CHANGES.step(value) for value in (-0.2, 0.0, 0.2)] == [0, STEPS // 2, STEPS - 1]
    assert [CHANGES.step(value) for value in (-9.0, 9.0)] == [0, STEPS - 1]
    assert Scale(0.5, 0.5).step(0.5) == 0


@pytest.mark.parametrize("scale", [CHANGES, Scale(0.0, 1.0)])
def test_every_number_has_enough_contrast_to_its_colour(scale: Scale) -> None:
    for step, colour in enumerate(scale.colours):
        light, dark = sorted((luminance(colour), luminance(scale.ink(step))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5, (step, colour)


def test_black_white_and_grey_have_the_luminance_of_the_standard() -> None:
    assert [luminance(colour) for colour in ("#000000", "#ffffff")] == pytest.approx([0.0, 1.0])
    assert luminance("#777777") == pytest.approx(0.184475, abs=1e-6)


@pytest.mark.parametrize("seen_by", ["red and green alike", "blue and green alike"])
def test_more_and_less_differ_for_every_kind_of_colour_blindness(seen_by: str) -> None:
    low, high = (
        tuple(int(CHANGES.colours[step][place : place + 2], 16) for place in (1, 3, 5)) for step in (4, STEPS - 5)
    )
    mixed = [
        ((colour[0] + colour[1]) / 2, colour[2]) if seen_by.startswith("red") else (colour[0], sum(colour[1:]) / 2)
        for colour in (low, high)
    ]
    assert max(abs(one - other) for one, other in zip(*mixed, strict=True)) > 60


def test_a_scale_of_changes_is_symmetric_and_one_from_zero_is_never_empty() -> None:
    assert Scale.around_zero([0.1, None, -0.3]) == Scale(-0.3, 0.3, is_diverging=True)
    assert Scale.around_zero([None], least=0.02).high == 0.02
    assert (Scale.from_zero([0.0]).high, Scale.from_zero([0.2], least=0.5).high) == (1.0, 0.5)


def test_a_group_has_the_filters_of_which_all_its_rows_have_the_same_value() -> None:
    rows = [{**TASK, "score": "wanda"}, {**TASK, "score": "ria"}]
    assert Group("g", (), rows).facets == {"model": "tiny", "task": "xnli"}
    assert Group("g", (), rows[:1]).facets == {"model": "tiny", "task": "xnli", "score": "wanda"}


def test_the_page_has_a_rule_for_every_class_of_a_cell() -> None:
    rules = set(re.findall(r"td\.(\w+) \{", style_rules()))
    grid = Grid("t", "l", ("fr",), ("0.1", "0.5"), {(0, 0): -0.2, (0, 1): 0.2}, CHANGES)
    assert {grid.classes(0, 0), grid.classes(0, 1)} == {"d0", f"d{STEPS - 1}"} <= rules
    assert Grid("t", "l", ("fr",), ("0.1",), {}, Scale(0, 1)).classes(0, 0) == ""


def test_a_sheet_shows_the_same_rows_columns_texts_and_colours() -> None:
    values = {(0, 0): 0.2, (1, 1): -0.2}
    grid = Grid(
        "t", "l", ("en", "fr"), ("self_attn.q", "fc1"), values, CHANGES, texts={(0, 0): "+0.20", (1, 1): "−0.20"}
    )
    svg = drawn(Panel(label="l", size=Size(3.0, 2.0, bottom=0.8), draw=lambda axes: draw_grid(axes, grid)))
    assert {"en", "fr", "self_attn.q", "fc1", "+0.20", "−0.20"} <= set(texts(svg))
    assert {CHANGES.colours[0], CHANGES.colours[-1]} <= set(re.findall(r"fill: (#\w{6})", svg))


def test_a_selection_includes_the_first_and_the_last_value_in_order() -> None:
    assert evenly_spaced(list(range(10)), 4) == [0, 3, 6, 9]
    assert evenly_spaced([1, 2], 4) == [1, 2]
    assert omission_note(2, 2, "sets") == ""


def test_english_comes_before_all_other_languages() -> None:
    assert english_first(["sw", "de", "en", "de"]) == ["en", "de", "sw"]


def test_headings_have_the_rule_if_a_task_has_several() -> None:
    rows = [TASK, {**TASK, "task": "marc", "scoring_rule": "sum"}, {**TASK, "task": "facts"}]
    assert not has_several_rules(rows, TASK)
    assert has_several_rules([*rows, {**TASK, "scoring_rule": "sum"}], TASK)


def test_a_table_has_the_headings_and_intervals_of_its_file() -> None:
    table = read_exhibit("perplexity")
    assert (table.anchor, table.title, table.query) == ("perplexity", "Perplexity", "perplexity")
    assert list(table.columns)[-4:] == ["ratio_to_dense", "p_value", "p_corrected", "n_family"]
    assert table.columns["p_corrected"] == "p, corrected"
    assert table.intervals["ratio_to_dense"] == ("ratio_low", "ratio_high")


def test_a_file_without_a_statement_shows_a_named_query_with_its_defaults() -> None:
    exhibit = read_exhibit("search_final")
    assert (exhibit.query, exhibit.folder, exhibit.is_optional) == ("search_final", "queries", True)
    assert exhibit.parameters == {"search": None, "with_trials": False}


def test_every_exhibit_has_an_anchor_of_its_own_and_texts_on_one_line() -> None:
    exhibits = (*FIGURES, *TABLES, *EXAMPLES)
    assert len({exhibit.anchor for exhibit in exhibits}) == len(exhibits)
    for exhibit in exhibits:
        for text in (exhibit.title, exhibit.explanation, exhibit.empty_text):
            assert text == " ".join(text.split()) != ""


def test_the_sql_of_the_page_is_without_the_texts_of_the_page() -> None:
    for exhibit in (*FIGURES, *TABLES, *EXAMPLES):
        sql = report_query(exhibit.query, exhibit.folder)
        assert "one row per " in sql.partition("SELECT")[0].lower()
        assert sql.startswith(f"-- {exhibit.query}: ")
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
