"""Colours and cells of heat maps, and selections of what is drawn."""

import re

import pytest

from catalog.report.exhibits import (
    STEPS,
    Grid,
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
from tests.catalog.report.rows import TASK, drawn, texts

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
