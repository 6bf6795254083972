"""Shared marks have the data of their rows."""

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from catalog.report.exhibits import Scale
from catalog.report.labels import BLUE
from catalog.report.svg import Ends, GridTexts, half_matrix, heat, interval_line, interval_row, start_rows

TEXTS: GridTexts = {"title": "t", "label": "l", "scale": Scale(-1, 1)}


def empty_axes() -> Axes:
    axes: Axes = Figure().add_subplot()
    return axes


def data(axes: Axes) -> tuple[list[list[list[float]]], list[tuple[float, float]]]:
    """The intervals and the points on a pair of axes."""
    lines = [one for one in axes.collections if isinstance(one, LineCollection)]
    segments = [segment.tolist() for one in lines for segment in one.get_segments()]
    return segments, [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines]


def test_an_interval_is_a_line_between_its_ends_and_a_point_at_its_value() -> None:
    row, line = empty_axes(), empty_axes()
    interval_row(row, 2, 0.5, (0.25, 1.0), colour=BLUE)
    interval_line(line, 2, 0.5, (0.25, 1.0), colour=BLUE)
    assert data(row) == ([[[0.25, 2], [1.0, 2]]], [(0.5, 2)])
    assert data(line) == ([[[2, 0.25], [2, 1.0]]], [(2, 0.5)])


def test_what_is_unknown_is_left_out() -> None:
    for ends in [(None, None), (0.1, None)]:
        known: Ends = ends
        for mark in (interval_row, interval_line):
            axes = empty_axes()
            mark(axes, 0, None, known, colour=BLUE)
            assert data(axes) == ([], [])


def test_the_first_of_named_rows_is_on_top() -> None:
    axes = empty_axes()
    start_rows(axes, "title", ["a", "b"], edge=0.6)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylim() == (1.6, -0.6)


def test_a_heat_map_has_a_cell_for_each_named_row_with_a_value() -> None:
    rows = [{"set": name, "block": block, "value": block / 4} for name in "ab" for block in (0, 1)]
    rows += [{"set": "a", "block": 2, "value": None}, {"set": "hidden", "block": 0, "value": 1.0}]
    grid = heat(rows, "value", down=("block", {2: "2", 1: "1", 0: "0"}), across=("set", {"b": "B", "a": "A"}), **TEXTS)
    assert (grid.rows, grid.columns) == (("2", "1", "0"), ("B", "A"))
    assert grid.values == {(2, 1): 0.0, (1, 1): 0.25, (2, 0): 0.0, (1, 0): 0.25}
    assert grid.texts[1, 0] == "0.25"


def test_half_a_matrix_has_each_pair_once_in_whatever_order_it_is_given() -> None:
    pairs = [("en", "fr", 0.1), ("sw", "en", 0.2), ("fr", "sw", 0.3)]
    rows = [{"language": one, "other": other, "value": value} for one, other, value in pairs]
    grid = half_matrix(rows, "value", other="other", text=lambda row: f"{row['value']:g}", **TEXTS)
    assert (grid.rows, grid.columns) == (("fr", "sw"), ("en", "fr"))
    assert grid.texts == {(0, 0): "0.1", (1, 0): "0.2", (1, 1): "0.3"}
