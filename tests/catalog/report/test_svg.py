import re
import warnings

from matplotlib.axes import Axes

from catalog.report.exhibits import Panel, Size
from catalog.report.facets import to_id
from catalog.report.svg import to_svg
from tests.catalog.report.reading import ATTACK, Reader


def a_panel(title: str, anchor: str = "here", label: str = "a line", gid: str | None = None) -> str:
    def draw(axes: Axes) -> None:
        axes.set_title(title)
        axes.plot([0, 1], [0, 1], marker="o", gid=gid)

    return to_svg(Panel(label=label, size=Size(3.0, 2.0), draw=draw), anchor)


def test_equal_figures_are_equal_texts_without_a_date() -> None:
    assert a_panel("x") == a_panel("x")
    assert "metadata" not in a_panel("x")


def test_ids_carry_the_anchor_so_that_panels_can_stand_in_one_page() -> None:
    first, second = (a_panel("x", anchor) for anchor in ("one", "two"))
    ids = re.findall(r' id="([^"]+)"', first)
    assert ids
    assert all(name.startswith("one-") for name in ids)
    assert first.replace("one-", "two-") == second
    assert {*re.findall(r"url\(#([^)]+)\)", first), *re.findall(r'href="#([^"]+)"', first)} == set(ids)


def test_a_label_is_escaped() -> None:
    assert 'aria-label="&quot;&lt;b&gt;&amp;"' in a_panel("x", label='"<b>&')


def test_text_is_text_and_never_a_formula() -> None:
    assert "$\\frac{1}{$" in a_panel("$\\frac{1}{$")


def test_a_script_the_measuring_font_lacks_is_written_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "中文 हिन्दी" in a_panel("中文 हिन्दी")


def test_a_panel_has_its_size_in_css_pixels() -> None:
    assert 'width="288" height="192" viewBox="0 0 216 144"' in a_panel("x")


def test_a_mark_that_tells_its_facets_carries_them_as_attributes() -> None:
    svg = a_panel("x", gid=to_id({"score": ATTACK, "pair": "url(#a)", "detail": ""}))
    (mark,) = [one for one in Reader(svg).elements if "data-score" in one.attributes]
    assert mark.attributes == {"data-score": ATTACK, "data-pair": "url(#a)", "data-detail": "", "data-off": ""}


def test_the_style_of_equal_marks_is_said_once_and_places_are_short() -> None:
    svg = a_panel("0.123456")
    assert "0.123456" in svg
    marks = svg[svg.index("<use") :]
    assert svg.count("fill: #1f77b4; stroke: #1f77b4") <= 1
    assert not re.search(r"\d\.\d{3}", marks.partition("</g>")[0])
