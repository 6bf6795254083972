"""Dots in rows, lines and heat maps, drawn from the columns that an exhibit names."""

from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from catalog.report.exhibits import Panel, Scale
from catalog.report.figures import FIGURES, run_exhibit
from catalog.report.marks import MAX_DOTS, Dots, Heat, Line, Lines, Mark, half_matrix, legend_of, point
from catalog.report.styles import BLUE, ORANGE, SeriesStyle, first_styles
from catalog.report.svg import draw_panel, drawing
from catalog.store import Catalog
from tests.catalog.report.rows import drawn, texts

STYLE = SeriesStyle(BLUE, "o")
MARKS = (Mark("dense", "old", STYLE), Mark("pruned", "new", SeriesStyle(ORANGE, "s"), ends=""))
TEXTS: dict[str, Any] = {"title": "t", "about": "l", "scale": Scale(-1, 1)}


def data(axes: Axes) -> tuple[list[list[list[float]]], list[tuple[float, float]]]:
    """The intervals and the points on a pair of axes."""
    lines = [one for one in axes.collections if isinstance(one, LineCollection)]
    segments = [segment.tolist() for one in lines for segment in one.get_segments()]
    return segments, [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines]  # type: ignore


def test_an_interval_is_a_line_between_its_ends_and_a_point_at_its_value() -> None:
    row, upright = Figure().subplots(), Figure().subplots()
    point(row, (0.5, 2), (0.25, 1.0), STYLE)
    point(upright, (2, 0.5), (0.25, 1.0), STYLE, is_upright=True)
    assert data(row) == ([[[0.25, 2], [1.0, 2]]], [(0.5, 2)])
    assert data(upright) == ([[[2, 0.25], [2, 1.0]]], [(2, 0.5)])


def test_what_is_unknown_is_left_out() -> None:
    for ends in ((None, None), (0.1, None)):
        axes = Figure().subplots()
        point(axes, (None, 0), ends, STYLE)
        assert data(axes) == ([], [])


def a_row(name: str, old: float | None, new: float | None) -> dict[str, Any]:
    low, high = (None, None) if old is None else (old - 0.1, old + 0.1)
    return {"name": name, "old": old, "new": new, "ci_low": low, "ci_high": high}


def dots(**more: Any) -> Dots:
    return Dots(lambda row: str(row["name"]), MARKS, title="title", about="Accuracy", **more)


def test_dots_have_a_row_per_name_from_the_top_with_all_columns_and_a_text_for_screen_readers() -> None:
    panel = dots(is_signed=False, aside=lambda row: "+1").panel([a_row("fr", 0.5, 0.4), a_row("sw", None, 0.2)])
    assert panel.label == "Accuracy: fr dense 0.500 (0.400 to 0.600), pruned 0.400 +1; sw pruned 0.200 +1"
    axes = Figure().subplots()
    panel.draw(axes)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["fr", "sw"]
    segments, points = data(axes)
    assert [[x for x, _ in segment] for segment in segments] == [[0.4, 0.6]]
    assert [x for x, _ in points[1:]] == [0.5, 0.4, 0.2]  # after the line at 0
    assert [entry.label for entry in legend_of(MARKS)] == ["dense", "pruned"]


def test_of_many_rows_an_even_selection_is_drawn() -> None:
    panel = dots(things="methods").panel([a_row(f"m{n}", 0.1, 0.2) for n in range(MAX_DOTS + 3)])
    assert f"{MAX_DOTS} of {MAX_DOTS + 3} methods drawn" in panel.label


def test_lines_go_through_their_points_and_are_described() -> None:
    rows = [{"block": n, "value": n / 4, "ci_low": None, "ci_high": None} for n in (0, 1, 2)]
    figure = Lines("block", "value", title="t", about="Influence", xlabel="block", ends="ci")
    panel = figure.panel([Line(rows, STYLE, "fr")])
    assert panel.label == "Influence: fr from 0.000 to 0.500 at block 2"
    assert "block" in texts(drawn(panel))


def cut_texts(panel: Panel) -> list[str]:
    """Texts of a panel that reach beyond its edges."""
    with drawing():
        figure = Figure(figsize=(panel.size.width, panel.size.height))
        axes = draw_panel(figure, panel)
        figure.draw_without_rendering()
        parts = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]  # type: ignore
        for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            parts += [tick.label1 for tick in axis.get_major_ticks() if min(ends) <= tick.get_loc() <= max(ends)]
        boxes = {part.get_text(): part.get_window_extent() for part in parts if part.get_text() and part.get_visible()}
        return [
            text
            for text, box in boxes.items()
            if box.x0 < -1 or box.y0 < -1 or box.x1 > figure.bbox.width + 1 or box.y1 > figure.bbox.height + 1
        ]


@pytest.mark.parametrize("name", ["fr", "wanda, refined by gram swaps, reconstructed on en + fr-en + sw-en"])
def test_no_text_of_dots_is_cut_off(name: str) -> None:
    panel = dots(xlabel="perplexity / dense", aside=lambda row: "+12 −345").panel([a_row(name, 0.1, 0.2)])
    assert cut_texts(panel) == []


@pytest.mark.thorough("draws all figures")
def test_no_text_of_any_figure_is_cut_off(methods_catalog: Catalog) -> None:
    for exhibit in FIGURES:
        for rows in (source.rows for source in run_exhibit(methods_catalog, exhibit)):
            for group in exhibit.draw(rows) if exhibit.draw and rows else ():
                for panel in group.panels:
                    if isinstance(panel, Panel):
                        assert cut_texts(panel) == [], (exhibit.anchor, group.title, panel.label)


def test_styles_of_things_that_are_no_methods_differ() -> None:
    assert len(set(first_styles("abcdefgh").values())) == 8


def test_a_heat_map_has_a_cell_for_each_named_row_with_a_value() -> None:
    rows = [{"set": name, "block": block, "value": block / 4} for name in "ab" for block in (0, 1)]
    rows += [{"set": "a", "block": 2, "value": None}, {"set": "hidden", "block": 0, "value": 1.0}]
    drawn = Heat("value", down=("block", {2: "2", 1: "1", 0: "0"}), across=("set", {"b": "B", "a": "A"}), **TEXTS)
    grid = drawn.grid(rows)
    assert (grid.rows, grid.columns) == (("2", "1", "0"), ("B", "A"))
    assert grid.values == {(2, 1): 0.0, (1, 1): 0.25, (2, 0): 0.0, (1, 0): 0.25}
    assert grid.texts[1, 0] == "0.25"
    assert grid.label == "l: from 0.000 in 0, A to 0.250 in 1, A, mean 0.125"
    assert Heat("value", down=("block", []), across=("set", []), **TEXTS).grid([]).label == "l: no values"


def test_half_a_matrix_has_each_pair_once_in_whatever_order_it_is_given() -> None:
    pairs = [("en", "fr", 0.1), ("sw", "en", 0.2), ("fr", "sw", 0.3)]
    rows = [{"language": one, "other": other, "value": value} for one, other, value in pairs]
    grid = half_matrix(rows, "value", other="other", text=lambda row: f"{row['value']:g}", **TEXTS)
    assert (grid.rows, grid.columns) == (("fr", "sw"), ("en", "fr"))
    assert grid.texts == {(0, 0): "0.1", (1, 0): "0.2", (1, 1): "0.3"}
