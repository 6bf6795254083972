"""From a panel to an inline SVG that stands beside others in one page.

Nothing here opens a window, reads a user's matplotlib settings or depends on the clock: equal figures are equal texts.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catalog.report.drawing.exhibits import Panel, Size
from catalog.report.filters import attributes, from_id

INK = "#24292f"
QUIET = "#6b7280"
GRID = "#e5e7eb"

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlprune",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.titley": 1.0,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "path.simplify": False,
}

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextmanager
def drawing() -> Iterator[None]:
    """The look of every figure: all drawing happens inside."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        cast(dict[str, Any], mpl.rcParams).update(_SETTINGS)
        warnings.filterwarnings("ignore", message=r".*Glyph .* missing from", category=UserWarning)
        yield


def axes_on(figure: Figure, size: Size, *, left: float = 0.0, bottom: float = 0.0) -> Axes:
    """A pair of axes on a figure.

    Args:
        size: with the margins inside which the axes lie.
        left: where the panel begins, in inches from the figure's left end; `bottom` from its lower end.
    """
    whole_width, whole_height = figure.get_size_inches()
    width, height = size.width - size.left - size.right, size.height - size.top - size.bottom
    place = ((left + size.left) / whole_width, (bottom + size.bottom) / whole_height)
    axes: Axes = figure.add_axes((*place, width / whole_width, height / whole_height))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return axes


def to_svg(panel: Panel, anchor: str) -> str:
    """The panel as an `<svg role="img">` element; marks whose id tells their facets get the attributes instead.

    It relies on the page for its background, its font and how lines are joined.

    Args:
        anchor: prefix of the ids inside, unlike that of any other panel in the page.
    """
    buffer = io.StringIO()
    with drawing():
        figure = Figure(figsize=(panel.size.width, panel.size.height))
        axes = axes_on(figure, panel.size)
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        panel.draw(axes)
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    head, body = _with_head(text, panel.label)
    return head + _with_own_ids(_smaller(_with_markers(body)), anchor)


def _with_head(text: str, label: str) -> tuple[str, str]:
    """A new opening tag, sized in CSS pixels and named for screen readers, and all that follows it."""
    found = re.match(r'<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>', text)
    assert found is not None, "matplotlib writes a viewBox"
    width, height = (round(float(size), 2) for size in found.groups())
    shown = (round(size * 4 / 3) for size in (width, height))  # 72 points are 96 CSS pixels
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
        f'width="{next(shown)}" height="{next(shown)}" viewBox="0 0 {width:g} {height:g}">'
    )
    return head, text[found.end() :].replace("<use xlink:href", "<use href").strip()


_SAME_MARKS = re.compile(
    r'<use href="#(\w+)" x="[^"]+" y="[^"]+" style="([^"]*)"/>'
    r'(?:\s*<use href="#\1" x="[^"]+" y="[^"]+" style="\2"/>)+'
)
"""Two or more marks of one shape and style behind each other."""
_ON_A_LINE = re.compile(
    r'(<path (d="[^"]*") clip-path="([^"]*)" style="[^"]*)"/>\s*'
    r'<g clip-path="\3">\s*<path \2 style="fill: none; (marker: [^"]*"/>)\s*</g>'
)
"""A line, and such marks at the same places."""


def _with_markers(text: str) -> str:
    """Marks of one shape and style as one path through their places: far fewer elements, and less text.

    The shapes go to the top, since a browser finds none in what is hidden.
    """
    shapes = dict(re.findall(r'<path id="(\w+)" (d="[^"]*")', text))
    markers: dict[tuple[str, str], str] = {}

    def joined(marks: re.Match[str]) -> str:
        name = markers.setdefault((marks[1], marks[2]), f"marker{len(markers)}")
        places = " \nL ".join(f"{x} {y}" for x, y in re.findall(r'x="([^"]+)" y="([^"]+)"', marks[0]))
        return f'<path d="M {places} \n" style="fill: none; marker: url(#{name})"/>'

    text = _ON_A_LINE.sub(r"\1; \4", _SAME_MARKS.sub(joined, text))
    shape = '<marker id="{}" markerUnits="userSpaceOnUse" overflow="visible"><path {} style="{}"/></marker>'
    definitions = "\n".join(shape.format(name, shapes[mark], style) for (mark, style), name in markers.items())
    return f"<defs>{definitions}</defs>\n{text}" if markers else text


def _smaller(text: str) -> str:
    """The same picture in fewer letters: places to a tenth of a point, and nothing that says nothing."""

    def shortened(tag: re.Match[str]) -> str:
        digits = 2 if " id=" in tag[0] else 1  # shapes of marks are small
        short = re.sub(r"font-family: [^;\"]*;? ?|(?<=\") transform=\"rotate\(-0 [^\"]*\"", "", tag[0])
        return re.sub(r' (d|x|y)="([^"]*)"', lambda one: f' {one[1]}="{_places(one[2], digits)}"', short)

    text = re.sub(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", text)
    text = re.sub(r"<marker [^<>]*><path [^<>]*>|<(?:path|use|text) [^<>]*>", shortened, text)
    shapes = set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(
        r'<defs>\s*<path id="([^"]+)"[^<>]*/>\s*</defs>', lambda one: one[0] if one[1] in shapes else "", text
    )
    text = re.sub(r"<g[^<>]*/>", "", text)
    return re.sub(r"\n\s*", "\n", text)


def _places(text: str, digits: int) -> str:
    """Numbers of an attribute rounded, and a path without the blanks and repeated letters it can do without."""
    text = re.sub(r"-?\d+\.\d+", lambda one: f"{round(float(one[0]), digits) or 0.0:g}", text)
    text = re.sub(r"\s*([A-Za-z])\s*", r"\1", text).strip()
    return text if "C" in text or "Q" in text else text.replace("L", " ")


def _with_own_ids(text: str, anchor: str) -> str:
    """Keep ids that something refers to, short and under the panel's own prefix; turn those that tell facets into
    attributes, and leave out all others."""
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    names = {name: f"{anchor}-{place}" for place, name in enumerate(used)}

    def renamed(tag: re.Match[str]) -> str:
        found = re.search(r' id="([^"]*)"', tag.group())
        facets = from_id(found[1]) if found else None
        if found and facets is not None:
            return tag.group().replace(found.group(), attributes(facets))
        result = re.sub(r'(url\(#|href="#)([^)"]+)', lambda one: one[1] + names[one[2]], tag.group())
        return re.sub(r' id="([^"]*)"', lambda one: f' id="{names[one[1]]}"' if one[1] in names else "", result)

    return re.sub(r"<[^<>]+>", renamed, text)
