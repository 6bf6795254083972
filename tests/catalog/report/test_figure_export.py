import csv
import io
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from catalog.report import FigureSelection, write_figures
from catalog.report.exhibits import Grid, Group, LegendEntry, Panel, Scale, Size
from catalog.report.figure_export import MAX_HEIGHT, MAX_NAME_LENGTH, WIDTH, draw_sheet, grid_panel, split_group
from catalog.report.figures import FIGURES
from catalog.report.styles import BLUE, SeriesStyle
from catalog.report.svg import drawing
from catalog.store import Catalog
from mlprune.errors import BadInputError
from tests.catalog.report.rows import texts


def panel(title: str, width: float = 3.2) -> Panel:
    def draw(axes: Axes) -> None:
        axes.set_title(title)

    return Panel(label=title, size=Size(width, 2.0), draw=draw)


def places(group: Group, width: float = WIDTH) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
    """The sheet's size, and where each titled panel has its axes' upper left corner, in inches from the upper left."""
    with drawing():
        figure = draw_sheet(group, width=width)
        whole = tuple(map(float, figure.get_size_inches()))
        found = {axes.get_title("left"): axes.get_position() for axes in figure.axes if axes.get_title("left")}
    return whole, {title: (box.x0 * whole[0], (1 - box.y1) * whole[1]) for title, box in found.items()}


def test_panels_are_placed_next_to_each_other_as_long_as_there_is_space() -> None:
    whole, found = places(Group("g", tuple(map(panel, "abc")), rows=()))
    assert whole == pytest.approx((WIDTH, 4.0))
    assert found["a"] == pytest.approx((0.5, 0.34))
    assert found["b"] == pytest.approx((3.7, 0.34))
    assert found["c"] == pytest.approx((0.5, 2.34))


def test_a_panel_that_is_wider_than_the_sheet_widens_it() -> None:
    whole, _ = places(Group("g", (panel("a", 9.0), panel("b")), rows=()))
    assert whole[0] == pytest.approx(9.0)


def test_the_legend_is_below_all_panels_and_has_every_entry() -> None:
    legend = (
        LegendEntry(label="dense model", colour="#000000"),
        LegendEntry(label="random", colour="#888888", marker="X", line=False),
    )
    legend += (
        LegendEntry(label="less|more", scale=Scale(0, 1)),
        LegendEntry(label="chosen", colour="#0072b2", marker="bar"),
    )
    group = Group("g", (panel("a"),), rows=(), legend=legend)
    with drawing():
        figure = draw_sheet(group)
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["dense model", "random", "chosen"]
        scale = figure.axes[-1]
        assert [text.get_text() for text in scale.texts] == ["less", "more"]
        figure.draw_without_rendering()
        lowest = figure.axes[0].get_tightbbox().y0  # type: ignore[union-attr]
        assert max(legend.get_window_extent().y1, scale.get_position().y1 * figure.bbox.height) < lowest


def test_marks_of_the_legend_are_equal_to_those_of_the_figure() -> None:
    style = SeriesStyle(BLUE, "D", is_hollow=True)
    with drawing():
        (legend,) = draw_sheet(
            Group("g", (panel("a"),), rows=(), legend=(LegendEntry.of_series("ria", style),))
        ).legends
        (handle,) = legend.get_lines()
    assert {key: handle.properties()[key] for key in style.marker_options} == style.marker_options


def test_a_heat_map_has_space_for_its_names_and_its_title() -> None:
    names = ("self_attn.q_proj", "fc1")
    grid = Grid("a rather long title of a method, sparsity 0.5", "l", ("0", "1"), names, {(0, 0): 0.5}, Scale(0, 1))
    made = grid_panel(grid)
    with drawing():
        figure = draw_sheet(Group("g", (grid,), rows=()))
        figure.draw_without_rendering()
        box = figure.axes[0].get_tightbbox()
        assert box is not None
        assert box.y0 >= 0
        assert box.x0 >= 0
        assert box.y1 <= figure.bbox.height + 1
    assert made.label == "l"
    assert made.size.height > grid_panel(Grid("t", "l", ("0", "1"), ("fc1",), {}, Scale(0, 1))).size.height


def test_a_group_that_is_too_high_for_a_page_is_split_into_parts_with_order_and_legend() -> None:
    key = LegendEntry(label="dense model", colour="#000000")
    group = Group("g", tuple(map(panel, "abcdefghijk")), rows=(), legend=(key,))
    cut = split_group(group)
    assert [[one.label for one in part.panels] for part in cut] == [list("abcdefghij"), list("k")]
    assert all(part.legend == group.legend for part in cut)
    assert all(places(part)[0][1] <= MAX_HEIGHT + 0.5 for part in cut)
    high = replace(panel("high"), size=Size(3.2, 12.0))
    assert [len(part.panels) for part in split_group(replace(group, panels=(high, high)))] == [1, 1]


def test_names_of_columns_do_not_overlap() -> None:
    names = ("sw-en", "zh-en", "fr-en")
    places_of = {(0, 0): 0.5, (0, 1): 0.5, (0, 2): 0.5}
    grid = Grid("t", "l", ("0",), names, places_of, Scale(0, 1), texts=dict.fromkeys(places_of, "0.50"))
    with drawing():
        figure = draw_sheet(Group("g", (grid,), rows=()))
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


LONG = "mean outside English: difference to dense, 4 of 5 sparsities drawn, all of them in the data"


@pytest.mark.thorough("renders pages of its own")
@pytest.mark.parametrize(("title", "left"), [("short", 2.0), ("mean outside English", 0.7), (LONG, 0.2)])
def test_a_title_is_whole_and_stays_between_the_edges_of_its_panel_and_above_its_axes(title: str, left: float) -> None:
    def draw(axes: Axes) -> None:
        axes.set_title(title, weight="bold", fontsize=9)

    neighbour = Panel(label="", size=Size(left + 1.5, 2.0, left=left), draw=draw)
    with drawing():
        figure = draw_sheet(Group("g", (neighbour, neighbour), rows=()))
        renderer = FigureCanvasAgg(figure).get_renderer()
        for start, axes in zip((0.0, neighbour.size.width), figure.axes, strict=True):
            (text,) = (found for found in axes.findobj(Text) if found.get_text().split() == title.split())
            box = text.get_window_extent(renderer)
            assert start <= box.x0 / figure.dpi
            assert box.x1 / figure.dpi <= start + neighbour.size.width + 0.01
            assert axes.get_window_extent(renderer).y1 <= box.y0
            assert box.y1 <= figure.dpi * 2.01


@pytest.fixture(scope="module")
def written(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All figures of the filled store, as SVG."""
    return list(write_figures(catalog, tmp_path_factory.mktemp("figures"), FigureSelection(format="svg")))


def drawn_by(written: list[Path], anchor: str) -> list[Path]:
    return [path for path in written if re.fullmatch(rf"{anchor}(-tiny.*)?(-part-\d+)?", path.stem)]


def related_file(path: Path, ending: str) -> Path:
    """The file with another suffix for a figure, or for all parts of one."""
    return path.with_name(path.stem.partition("-part-")[0] + ending)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(related_file(path, ".csv").read_text("utf-8"))))


def test_every_figure_of_the_report_is_a_file_with_its_sql_and_data(written: list[Path]) -> None:
    for exhibit in FIGURES:
        if not exhibit.is_optional:
            assert drawn_by(written, exhibit.anchor), exhibit.anchor
    for path in written:
        assert path.read_text("utf-8").startswith("<?xml")
        assert len(rows_of(path)) > 0
        assert related_file(path, ".sql").exists()
        assert len(related_file(path, "").name) <= MAX_NAME_LENGTH
    assert len(set(written)) == len(written)


@pytest.mark.thorough("renders pages of its own")
def test_figures_are_equal_bytes_whatever_matplotlib_is_set_to(
    written: list[Path], catalog: Catalog, tmp_path: Path
) -> None:
    settings = {"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}
    with mpl.rc_context(settings):
        again = list(write_figures(catalog, tmp_path, FigureSelection(format="svg", figures=("curves",))))
        assert mpl.rcParams["font.size"] == 30
    assert len(again) == len(drawn_by(written, "curves")) > 0
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in drawn_by(written, "curves")]


def test_the_data_of_a_figure_are_its_rows_of_the_query(written: list[Path], catalog: Catalog) -> None:
    accuracy, perplexity, chrf = drawn_by(written, "curves")
    assert {row["metric"] for row in rows_of(accuracy)} == {"accuracy"}
    sql = perplexity.with_suffix(".sql").read_text("utf-8")
    assert '-- rows with metric = "perplexity"' in sql
    assert f"-- snapshot {catalog.snapshot_id()} of the catalog" in sql
    asked = [row for row in catalog.query(sql) if row["metric"] == "perplexity" and row["demonstration_label"] is None]
    assert len(rows_of(perplexity)) == len(asked)
    assert {row["language"] for row in rows_of(chrf)} == {"es-en", "fr-en", "outside_english"}


@pytest.mark.thorough("renders pages of its own")
def test_without_a_pair_the_means_are_drawn_and_with_one_its_own_values(
    written: list[Path], catalog: Catalog, tmp_path: Path
) -> None:
    for path in drawn_by(written, "curves"):
        assert {row["demonstration_label"] for row in rows_of(path)} == {""}
    chosen = {"pair": ["fr-en"], "score": ["wanda"], "task": ["facts"]}
    (path,) = write_figures(catalog, tmp_path, FigureSelection(format="svg", figures=("curves",), chosen=chosen))
    assert {(row["score"], row["demonstration_label"]) for row in rows_of(path)} == {("wanda", "fr-en")}
    assert "fr-en" in texts(path.read_text("utf-8"))


@pytest.mark.thorough("renders pages of its own")
def test_equal_catalogs_make_equal_files_in_either_format(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("pdf", "svg"):
        wanted = FigureSelection(format=name, figures=("pareto",))
        (one,), (other,) = (list(write_figures(catalog, tmp_path / folder, wanted)) for folder in ("a", "b"))
        assert one.read_bytes() == other.read_bytes()
        assert one.read_bytes().startswith(b"%PDF" if name == "pdf" else b"<?xml")
        plain = one.read_bytes().replace(b"\0", b"").replace(b"\\000", b"")  # a PDF says its subject in UTF-16
        assert catalog.snapshot_id().encode() in plain


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (FigureSelection(format="png"), "no such figure format"),
        (FigureSelection(figures=("curvs",)), "unknown figure .*nearest='curves'"),
        (FigureSelection(chosen={"task": ["fact"]}), "unknown task .*nearest='facts'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(
    wanted: FigureSelection, said: str, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=said):
        list(write_figures(catalog, tmp_path / "none", wanted))
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_created_is_an_error_in_one_line(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError, match="a figure cannot be written"):
        list(write_figures(catalog, tmp_path / "file" / "deep", FigureSelection(figures=("pareto",))))


@pytest.mark.thorough("renders pages of its own")
def test_names_of_any_spelling_give_files_in_the_folder(attacked_catalog: Catalog, tmp_path: Path) -> None:
    paths = list(
        write_figures(attacked_catalog, tmp_path, FigureSelection(format="svg", figures=("curves", "rank-matrices")))
    )
    assert len(paths) >= 4
    assert all(path.parent == tmp_path for path in paths)
    assert not [path for path in tmp_path.iterdir() if set(path.name) & set("<>\"'$/")]
    for path in paths:
        assert "<script" not in path.read_text("utf-8")
        assert catalog_lines(related_file(path, ".sql"))


def catalog_lines(path: Path) -> bool:
    """Whether everything after the statement is a comment."""
    _, _, rest = path.read_text("utf-8").rpartition(";\n-- snapshot")
    return all(line.startswith("--") for line in ("-- snapshot" + rest).splitlines())


def test_an_empty_catalog_gives_no_figure(empty_catalog: Catalog, tmp_path: Path) -> None:
    assert list(write_figures(empty_catalog, tmp_path / "none")) == []
