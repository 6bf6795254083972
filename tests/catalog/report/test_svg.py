import re
import warnings

from matplotlib.axes import Axes

from catalog.report.exhibits import Panel, Size
from catalog.report.labels import to_id
from catalog.report.svg import to_svg
from tests.catalog.report.reading import ATTACK, Reader


def a_panel(
    title: str,
    anchor: str = "here",
    label: str = "a line",
    gid: str | None = None,
    n_points: int = 2,
    width: float = 3.0,
) -> str:
    def draw(axes: Axes) -> None:
        axes.set_title(title)
        axes.plot(range(n_points), range(n_points), marker="o", gid=gid)

    return to_svg(Panel(label=label, size=Size(width, 2.0), draw=draw), anchor)


def test_equal_figures_are_equal_texts_without_a_date() -> None:
    assert a_panel("x") == a_panel("x")
    assert "metadata" not in a_panel("x")


def test_ids_have_the_anchor_as_prefix_so_that_they_are_unique_in_a_page() -> None:
    first, second = (a_panel("x", anchor) for anchor in ("one", "two"))
    ids = re.findall(r' id="([^"]+)"', first)
    assert ids
    assert all(name.startswith("one-") for name in ids)
    assert first.replace("one-", "two-") == second
    assert {*re.findall(r"url\(#([^)]+)\)", first), *re.findall(r'href="#([^"]+)"', first)} == set(ids)


def test_a_label_is_escaped() -> None:
    assert 'aria-label="&quot;&lt;b&gt;&amp;"' in a_panel("x", label='"<b>&')


def test_text_is_never_a_formula() -> None:
    assert "$\\frac{1}{$" in a_panel("$\\frac{1}{$")


def test_a_name_that_looks_like_an_attribute_is_written_as_it_is() -> None:
    name = ' d="M 0.12345 1" font-family: x; transform="rotate(-0 1 2)" xlink:href'
    assert f">{name}</text>" in a_panel(name, width=9.0)


def test_a_script_that_the_measuring_font_lacks_is_written_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "中文 हिन्दी" in a_panel("中文 हिन्दी")


def test_a_panel_has_its_size_in_css_pixels() -> None:
    assert 'width="288" height="192" viewBox="0 0 216 144"' in a_panel("x")


def test_a_mark_with_facets_in_its_id_has_them_as_attributes() -> None:
    svg = a_panel("x", gid=to_id({"score": ATTACK, "pair": "url(#a)", "detail": ""}))
    (mark,) = [one for one in Reader(svg).elements if "data-score" in one.attributes]
    assert mark.attributes == {"data-score": ATTACK, "data-pair": "url(#a)", "data-detail": "", "data-off": ""}


def test_marks_of_one_line_are_one_path_with_short_coordinates_and_their_shape_is_at_the_top() -> None:
    svg = a_panel("0.123456", n_points=7)
    assert "0.123456" in svg
    assert svg.count("fill: #1f77b4; stroke: #1f77b4") == 1
    (path,) = re.findall(r'd="M([^"]*)" style="fill: none; marker: url\(#(here-\d+)\)"', svg)
    assert len(path[0].split()) == 2 * 7
    assert re.fullmatch(r"[-\d. ]+", path[0])
    assert not re.search(r"\.\d\d", path[0])
    shape = svg.index(f'<marker id="{path[1]}"')
    assert shape < svg.index("<g>")
    assert len(re.findall(r"\d\.\d\d", svg[shape : svg.index("</marker>")])) > 10


def test_a_line_and_its_marks_at_the_same_positions_are_one_path() -> None:
    def draw(axes: Axes) -> None:
        for shift in (0, 1):
            axes.plot([0, 1, 2], [shift, 2, 1], marker="o", color="#123456", markeredgecolor="white")

    svg = to_svg(Panel(label="two lines", size=Size(3.0, 2.0), draw=draw), "here")
    assert svg.count("stroke-linecap: square; marker: url(#here-") == 1


def test_a_style_attribute_is_not_changed() -> None:
    def draw(axes: Axes) -> None:
        axes.fill([0, 1, 1], [0, 0, 1], color="#123456", alpha=0.05, linewidth=0)

    assert "fill: #123456; opacity: 0.05" in to_svg(Panel(label="a band", size=Size(3.0, 2.0), draw=draw), "here")
