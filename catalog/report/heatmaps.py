"""Heat-maps: the change to dense by language and sparsity, and the overlap of large and small features."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm, to_hex

from catalog.report.exhibits import Group, Key, distinct, english_first, grouped, left_out, spread
from catalog.report.svg import INK, drawing, panel, to_svg
from catalog.report.words import Row, method_label, number, set_label, task_label

_DIVERGING = "PuOr"
"""Orange for less, purple for more: told apart with any common colour vision."""
_SEQUENTIAL = "Blues"
MOST_SETS, MOST_BLOCKS = 16, 25
"""Sets on an axis and blocks drawn in an overlap figure; of more, as many are drawn, evenly spread over their order."""
LETTERS_IN_AN_INCH = 13
"""Of a panel's title."""
_METHOD = ("score", "intervention", "set_kind", "propagation", "structure", "settings")


def change_heat_maps(rows: Sequence[Row], anchor: str) -> tuple[Group, ...]:
    """One panel a method: languages down, sparsities across, colour for the change of accuracy to dense.

    Args:
        rows: of `change_to_dense.sql`.
        anchor: prefix of the ids in the SVG.
    """
    columns = ("base_model", "base_model_id", "task", "split", "scoring_rule", "example_limit")
    with_rule = len(distinct(rows, "scoring_rule")) > 1
    groups = []
    for n, (_, members) in enumerate(grouped(rows, *columns)):
        reach = max(0.01, *(abs(row["difference"]) for row in members))
        norm = TwoSlopeNorm(0.0, vmin=-reach, vmax=reach)
        languages = english_first(row["language"] for row in members)
        with drawing():
            panels = tuple(
                _change_panel(cells, languages=languages, norm=norm, anchor=f"{anchor}-{n}-{place}")
                for place, (_, cells) in enumerate(grouped(members, *_METHOD))
            )
        scale = Key(
            label=f"less accurate {number(-reach, signed=True)}|{number(reach, signed=True)} more accurate than dense",
            scale=stops(_DIVERGING),
        )
        groups.append(Group(title=task_label(members[0], with_rule=with_rule), panels=panels, keys=(scale,)))
    return tuple(groups)


def _change_panel(rows: Sequence[Row], *, languages: Sequence[str], norm: Normalize, anchor: str) -> str:
    sparsities = sorted(distinct(rows, "sparsity"))
    texts = {(languages.index(row["language"]), sparsities.index(row["sparsity"])): _change_text(row) for row in rows}
    values = {(languages.index(row["language"]), sparsities.index(row["sparsity"])): row["difference"] for row in rows}
    label = method_label(rows[0])
    width = max(2.3, 0.72 * len(sparsities))
    title = in_lines(label, width)
    top = 0.16 + 0.17 * max(2, title.count("\n") + 1)
    axes = panel(0.7 + width, 0.35 + top + 0.34 * len(languages), left=0.55, top=top)
    axes.set_title(title, color=INK, fontsize=9, weight="bold", linespacing=1.3)
    draw_cells(axes, values, shape=(len(languages), len(sparsities)), norm=norm, colours=_DIVERGING, texts=texts)
    axes.set_yticks(np.arange(len(languages)) + 0.5, languages)
    axes.set_xticks(np.arange(len(sparsities)) + 0.5, [f"{sparsity:.3g}" for sparsity in sparsities])
    axes.set_xlabel("sparsity")
    worst, best = min(values.values()), max(values.values())
    said = f"Change of accuracy to dense, {label}: from {number(worst, signed=True)} to {number(best, signed=True)}"
    return to_svg(axes, anchor, label=said)


def _change_text(row: Row) -> str:
    """The change with its mark: ** when all of the cell's variants differ significantly, * when some do."""
    n_significant = max(row["n_significantly_better"], row["n_significantly_worse"])
    mark = "" if not n_significant else "**" if n_significant == row["n_variants"] else "*"
    return number(row["difference"], signed=True, digits=2) + mark


def in_lines(label: str, width: float) -> str:
    """`wanda on translation, dense propagation` broken at the first comma, and where a panel ends.

    Args:
        width: room for a line of a title, in inches.
    """
    method, _, rest = label.partition(", ")
    return "\n".join(line for part in (method, rest) for line in textwrap.wrap(part, int(LETTERS_IN_AN_INCH * width)))


def overlap_heat_maps(rows: Sequence[Row], anchor: str) -> tuple[Group, ...]:
    """One panel a block: large features of a set down, small features of a set across.

    Args:
        rows: of `feature_overlaps.sql`.
        anchor: prefix of the ids in the SVG.
    """
    groups = []
    for n, ((model, _, share), members) in enumerate(grouped(rows, "base_model", "base_model_id", "share")):
        largest = max(share, *(row["value"] for row in members))
        labels = _set_labels(members)
        shown = {key: labels[key] for key in spread(list(labels), MOST_SETS)}
        blocks = [cells for _, cells in grouped(members, "block")]
        drawn = spread(blocks, MOST_BLOCKS)
        with drawing():
            panels = tuple(
                _overlap_panel(cells, labels=shown, norm=Normalize(0.0, largest), anchor=f"{anchor}-{n}-{place}")
                for place, cells in enumerate(drawn)
            )
        scale = Key(label=f"0: no large feature of A is small in B|{largest:.2g}", scale=stops(_SEQUENTIAL))
        title = f"{model}: the largest and smallest {share:g} of all features; unrelated sets would give {share:g}"
        title += left_out(len(shown), len(labels), "sets") + left_out(len(drawn), len(blocks), "blocks")
        groups.append(Group(title=title, panels=panels, keys=(scale,)))
    return tuple(groups)


def _set_labels(rows: Sequence[Row]) -> Mapping[str, str]:
    """Id to label, in the order of the axes; sets of equal label get the first letters of their id."""
    sets = {
        row["set_a"]: (row["kind_a"], row["source_a"], row["target_a"], row["seed_a"], row["profile_a"]) for row in rows
    }
    labels = {key: set_label(*words[:3], seed=words[3], profile=words[4]) for key, words in sets.items()}
    said = list(labels.values())
    return {key: label if said.count(label) == 1 else f"{label} {key[:4]}" for key, label in labels.items()}


def _overlap_panel(rows: Sequence[Row], *, labels: Mapping[str, str], norm: Normalize, anchor: str) -> str:
    places = {key: place for place, key in enumerate(labels)}
    values = {
        (places[row["set_a"]], places[row["set_b"]]): row["value"]
        for row in rows
        if row["set_a"] in places and row["set_b"] in places
    }
    block, n = rows[0]["block"], len(places)
    size = max(1.6, 0.26 * n)
    axes = panel(size + 0.85, size + 0.98, left=0.72, top=0.32, bottom=0.66)
    name = "embeddings" if block == 0 else f"block {block}"
    axes.set_title(name, color=INK, fontsize=9, weight="bold")
    draw_cells(axes, values, shape=(n, n), norm=norm, colours=_SEQUENTIAL, texts={})
    axes.set_yticks(np.arange(n) + 0.5, list(labels.values()), fontsize=7.5)
    axes.set_xticks(np.arange(n) + 0.5, list(labels.values()), fontsize=7.5, rotation=90)
    axes.set_ylabel("large in A", fontsize=8)
    axes.set_xlabel("small in B", fontsize=8)
    mean = float(np.mean(list(values.values())))
    return to_svg(axes, anchor, label=f"Overlap of large and small features after {name}: mean {mean:.3f}")


def draw_cells(
    axes: Axes,
    values: Mapping[tuple[int, int], float],
    *,
    shape: tuple[int, int],
    norm: Normalize,
    colours: str,
    texts: Mapping[tuple[int, int], str],
) -> None:
    """Coloured cells, first row on top; a cell without a value stays empty."""
    grid = np.full(shape, np.nan)
    for place, value in values.items():
        grid[place] = value
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(grid), cmap=colormaps[colours], norm=norm, edgecolors="white", linewidth=0.8
    )
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    for (down, across), text in texts.items():
        ink = _ink_on(mesh.cmap, norm, grid[down, across])
        axes.text(across + 0.5, down + 0.52, text, ha="center", va="center", fontsize=8, color=ink)


def _ink_on(colours: Colormap, norm: Normalize, value: float) -> str:
    """Black or white, whichever is readable on the cell's colour."""
    red, green, blue, _ = colours(norm(value))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def stops(name: str) -> tuple[str, ...]:
    """Nine colours of a scale, low end first."""
    colours: Any = colormaps[name]
    return tuple(to_hex(colours(place)) for place in np.linspace(0, 1, 9))
