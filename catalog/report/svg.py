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

from catalog.report.exhibits import Panel, Size
from catalog.report.facets import attributes, from_id

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

    Args:
        anchor: prefix of the ids inside, unlike that of any other panel in the page.
    """
    buffer = io.StringIO()
    with drawing():
        figure = Figure(figsize=(panel.size.width, panel.size.height))
        panel.draw(axes_on(figure, panel.size))
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return _with_head(_with_own_ids(_smaller(text), anchor), panel.label)


def _smaller(text: str) -> str:
    """The same picture in fewer letters: places to a hundredth of a point, and the style of equal marks said once."""

    def rounded(tag: re.Match[str]) -> str:
        return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])

    def styled(marks: re.Match[str]) -> str:
        styles = set(re.findall(r' style="([^"]*)"', marks[2]))
        if len(styles) != 1 or marks[2].count("<use") == 1:
            return marks[0]
        (style,) = styles
        return f'<g clip-path="{marks[1]}" style="{style}">\n' + marks[2].replace(f' style="{style}"', "")

    text = re.sub(r"<(?:path|use) [^<>]*>", rounded, text)
    return re.sub(r'<g clip-path="([^"]*)">\s*((?:<use [^<>]*/>\s*)+)', styled, text)


def _with_own_ids(text: str, anchor: str) -> str:
    """Keep ids that something refers to, under the panel's own prefix; turn those that tell facets into attributes."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))

    def renamed(tag: re.Match[str]) -> str:
        found = re.search(r' id="([^"]*)"', tag.group())
        facets = from_id(found[1]) if found else None
        if found and facets is not None:
            return tag.group().replace(found.group(), attributes(facets))
        result = re.sub(r'(url\(#|href="#)', rf"\g<1>{anchor}-", tag.group())
        return re.sub(r' id="([^"]*)"', lambda one: f' id="{anchor}-{one[1]}"' if one[1] in used else "", result)

    return re.sub(r"<[^<>]+>", renamed, text)


def _with_head(text: str, label: str) -> str:
    """Replace the opening tag: sized in CSS pixels, named for screen readers."""
    found = re.match(r'<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>', text)
    assert found is not None, "matplotlib writes a viewBox"
    width, height = (round(float(size), 2) for size in found.groups())
    shown = (round(size * 4 / 3) for size in (width, height))  # 72 points are 96 CSS pixels
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{escape(label)}" width="{next(shown)}" height="{next(shown)}" viewBox="0 0 {width:g} {height:g}">'
    )
    return re.sub(r"\n\s*", "\n", head + text[found.end() :]).strip()
