"""Render panels as inline SVG for one page, in colours that change on a dark page.

Rendering opens no window, ignores the user's matplotlib settings and does not depend on the clock: equal figures give
identical SVG.
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
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from catalog.report.exhibits import Panel, Size
from catalog.report.labels import attributes, from_id
from catalog.report.styles import GRID, INK, QUIET, on_page

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
_EDGE = 0.08
"""Distance of a long title from both edges of its panel, in inches."""
_LINE_HEIGHT = 1.2
"""Height of a line, relative to the size of its letters."""
_SMALLEST_TITLE = 5.0
"""Smallest size of the letters of a title, in points."""
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_SAME_MARKS = re.compile(
    r'<use href="#(\w+)" x="[^"]+" y="[^"]+" style="([^"]*)"/>'
    r'(?:\s*<use href="#\1" x="[^"]+" y="[^"]+" style="\2"/>)+'
)
"""Two or more consecutive marks of the same shape and style."""
_COLOUR = re.compile("#[0-9a-f]{6}")
_ON_A_LINE = re.compile(
    r'(<path (d="[^"]*") clip-path="([^"]*)" style="[^"]*)"/>\s*'
    r'<g clip-path="\3">\s*<path \2 style="fill: none; (marker: [^"]*"/>)\s*</g>'
)
"""A line, followed by a path with marks at the same positions."""


@contextmanager
def drawing() -> Iterator[None]:
    """Set the style of figures. All drawing must happen inside this context."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        cast("dict[str, Any]", mpl.rcParams).update(_SETTINGS)
        warnings.filterwarnings("ignore", message=r".*Glyph .* missing from", category=UserWarning)
        yield


def axes_on(figure: Figure, size: Size, *, left: float = 0.0, bottom: float = 0.0) -> Axes:
    """Add a pair of axes to a figure.

    Args:
        size: size of the panel, including the margins of the axes.
        left: distance of the panel from the figure's left edge in inches; `bottom` from its lower edge.
    """
    figure_width, figure_height = figure.get_size_inches()
    width, height = size.width - size.left - size.right, size.height - size.top - size.bottom
    position = ((left + size.left) / figure_width, (bottom + size.bottom) / figure_height)
    axes: Axes = figure.add_axes((*position, width / figure_width, height / figure_height))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return axes


def draw_panel(figure: Figure, panel: Panel, *, left: float = 0.0, bottom: float = 0.0) -> Axes:
    """Draw a panel on a figure, with its whole title; see `axes_on` for the distances."""
    axes = axes_on(figure, panel.size, left=left, bottom=bottom)
    panel.draw(axes)
    text = axes.get_title(loc="left")
    titles = [one for one in axes.findobj(Text) if isinstance(one, Text) and one.get_text() == text]
    if text:
        _show_whole(titles[0], axes, panel.size)
    return axes


def _show_whole(title: Text, axes: Axes, size: Size) -> None:
    """Move a title that is wider than its panel to the panel's edge, wrap it, or make it smaller, until all is visible.

    It keeps above the axes, so their upper margin limits the number of lines.
    """
    text, points = title.get_text(), float(title.get_fontsize())
    if max(text_width(line, points) for line in text.splitlines()) <= size.width - size.left:
        return
    available = size.width - 2 * _EDGE
    while True:
        lines = wrapped(text, points, width=available)
        pad = 8.0 if len(lines) == 1 else 2.0
        height = pad + _LINE_HEIGHT * points * len(lines)
        fits = all(text_width(line, points) <= available for line in lines) and height <= 72 * size.top
        if fits or points <= _SMALLEST_TITLE:
            break
        points -= 0.5
    x = (_EDGE - size.left) / (size.width - size.left - size.right)
    style: dict[str, Any] = {"color": title.get_color(), "fontweight": title.get_fontweight(), "va": "bottom"}
    axes.set_title("\n".join(lines), fontsize=points, pad=pad, x=x, linespacing=1.0, **style)


def wrapped(text: str, points: float, *, width: float) -> list[str]:
    """Break a text between words into lines of at most a width in inches."""
    lines = [""]
    for word in re.findall(r" *[^ ]+", text.replace("\n", " ")):
        if lines[-1] and text_width(lines[-1] + word, points) > width:
            lines.append(word.strip())
        else:
            lines[-1] += word
    return lines


def text_width(text: str, points: float, weight: str = "bold") -> float:
    """Return the width of a text in inches, with a reserve for the fonts of browsers."""
    font = FontProperties(family="DejaVu Sans", weight=weight, size=points)
    return 1.05 * float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def to_svg(panel: Panel, anchor: str) -> str:
    """Return a panel as an `<svg role="img">` element; ids that contain facets are replaced by attributes.

    The CSS of the page sets background, font and line joins.

    Args:
        anchor: prefix of the ids in the element, unique in the page.
    """
    buffer = io.StringIO()
    with drawing():
        figure = Figure(figsize=(panel.size.width, panel.size.height))
        figure.patch.set_visible(False)
        draw_panel(figure, panel).patch.set_visible(False)
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    head, body = _with_head(text, panel.label)
    text = _with_unique_ids(_shortened(_with_markers(body)), anchor)
    return head + re.sub(r'style="[^"]*"', lambda style: _COLOUR.sub(lambda one: on_page(one[0]), style[0]), text)


def _with_head(text: str, label: str) -> tuple[str, str]:
    """Return a new opening tag, with the size in CSS pixels and a label for screen readers, and the text after it."""
    match = re.match(r'<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>', text)
    if match is None:
        raise ValueError("the SVG has no viewBox")
    width, height = (round(float(size), 2) for size in match.groups())
    pixels = [round(size * 4 / 3) for size in (width, height)]  # 72 points are 96 CSS pixels
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
        f'width="{pixels[0]}" height="{pixels[1]}" viewBox="0 0 {width:g} {height:g}">'
    )
    return head, text[match.end() :].replace("<use xlink:href", "<use href").strip()


def _with_markers(text: str) -> str:
    """Replace marks of the same shape and style by one path with markers, which has far fewer elements.

    The shapes are moved to the top, because a browser does not find them in hidden elements.
    """
    shapes = dict(re.findall(r'<path id="(\w+)" (d="[^"]*")', text))
    markers: dict[tuple[str, str], str] = {}

    def joined(marks: re.Match[str]) -> str:
        name = markers.setdefault((marks[1], marks[2]), f"marker{len(markers)}")
        positions = " \nL ".join(f"{x} {y}" for x, y in re.findall(r'x="([^"]+)" y="([^"]+)"', marks[0]))
        return f'<path d="M {positions} \n" style="fill: none; marker: url(#{name})"/>'

    text = _ON_A_LINE.sub(r"\1; \4", _SAME_MARKS.sub(joined, text))
    shape = '<marker id="{}" markerUnits="userSpaceOnUse" overflow="visible"><path {} style="{}"/></marker>'
    definitions = "\n".join(shape.format(name, shapes[mark], style) for (mark, style), name in markers.items())
    return f"<defs>{definitions}</defs>\n{text}" if markers else text


def _shortened(text: str) -> str:
    """Shorten the text: coordinates with one decimal, and no elements or attributes without effect."""

    def shortened(tag: re.Match[str]) -> str:
        digits = 2 if " id=" in tag[0] else 1  # shapes of marks are small
        short = re.sub(r"font-family: [^;\"]*;? ?|(?<=\") transform=\"rotate\(-0 [^\"]*\"", "", tag[0])
        return re.sub(r' (d|x|y)="([^"]*)"', lambda match: f' {match[1]}="{_rounded(match[2], digits)}"', short)

    text = re.sub(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", text)
    text = re.sub(r"<marker [^<>]*><path [^<>]*>|<(?:path|use|text) [^<>]*>", shortened, text)
    shapes = set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(
        r'<defs>\s*<path id="([^"]+)"[^<>]*/>\s*</defs>', lambda match: match[0] if match[1] in shapes else "", text
    )
    text = re.sub(r"<g[^<>]*/>", "", text)
    return re.sub(r"\n\s*", "\n", text)


def _rounded(text: str, digits: int) -> str:
    """Round the numbers of an attribute, and remove redundant blanks and letters of a path."""
    text = re.sub(r"-?\d+\.\d+", lambda match: f"{round(float(match[0]), digits) or 0.0:g}", text)
    text = re.sub(r"\s*([A-Za-z])\s*", r"\1", text).strip()
    return text if "C" in text or "Q" in text else text.replace("L", " ")


def _with_unique_ids(text: str, anchor: str) -> str:
    """Shorten referenced ids and give them the panel's prefix, replace ids with facets by attributes, and remove all
    others."""
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    names = {name: f"{anchor}-{index}" for index, name in enumerate(used)}

    def renamed(tag: re.Match[str]) -> str:
        match = re.search(r' id="([^"]*)"', tag.group())
        facets = from_id(match[1]) if match else None
        if match and facets is not None:
            return tag.group().replace(match.group(), attributes(facets))
        result = re.sub(r'(url\(#|href="#)([^)"]+)', lambda match: match[1] + names[match[2]], tag.group())
        return re.sub(r' id="([^"]*)"', lambda match: f' id="{names[match[1]]}"' if match[1] in names else "", result)

    return re.sub(r"<[^<>]+>", renamed, text)
