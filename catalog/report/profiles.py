"""Published choices against corrected ones: where two masks that differ in their profile only come out differently."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import Normalize

from catalog.report.exhibits import Group, Key, distinct, grouped, left_out, spread
from catalog.report.heatmaps import draw_cells, in_lines, stops
from catalog.report.svg import INK, drawing, panel, to_svg
from catalog.report.words import Row, number, variant_label

MOST_PAIRS, MOST_BLOCKS_WITH_NUMBERS = 16, 32
"""Panels drawn (of more pairs as many, evenly spread over their order), and blocks up to which cells hold numbers."""
_SEQUENTIAL = "Blues"


def profile_heat_maps(rows: Sequence[Row], anchor: str) -> tuple[Group, ...]:
    """One panel a pair of variants: blocks down, layers across, colour for the fraction of mask entries that differ.

    Args:
        rows: of `profile_differences.sql`: of each pair, rows for layers, blocks and the whole model.
        anchor: prefix of the ids in the SVG.
    """
    groups = []
    for n, ((model, _), members) in enumerate(grouped(rows, "base_model", "base_model_id")):
        pairs = [of_pair for _, of_pair in grouped(members, "corrected_id", "paper_id")]
        shown = spread(pairs, MOST_PAIRS)
        largest = max(0.01, *(row["share_differing"] for row in members))
        with drawing():
            panels = tuple(
                _pair_panel(of_pair, norm=Normalize(0.0, largest), anchor=f"{anchor}-{n}-{place}")
                for place, of_pair in enumerate(shown)
            )
        scale = Key(label=f"0: the same mask|{number(largest)} of the entries differ", scale=stops(_SEQUENTIAL))
        title = f"{model}: {_in_words(members)}" + left_out(len(shown), len(pairs), "pairs of variants")
        groups.append(Group(title=title, panels=panels, keys=(scale,)))
    return tuple(groups)


def _in_words(rows: Sequence[Row]) -> str:
    """What the pairs say over all layers, beside what masks without any relation would say."""
    whole = [row for row in rows if row["block"] is None]
    shares = [row["share_differing"] for row in whole]
    chances = [row["share_by_chance"] for row in whole]
    said = f"over all layers {_span(shares)} of the mask entries differ"
    return f"{said}; of unrelated masks of these sparsities it would be {_span(chances)}"


def _span(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _pair_panel(rows: Sequence[Row], *, norm: Normalize, anchor: str) -> str:
    whole = next(row for row in rows if row["block"] is None)
    cells = [row for row in rows if row["layer"] is not None]
    blocks, layers = distinct(cells, "block"), distinct(cells, "layer")
    values = {(blocks.index(row["block"]), layers.index(row["layer"])): row["share_differing"] for row in cells}
    label, width = variant_label(whole), max(2.4, 0.48 * len(layers))
    title = in_lines(f"{label}, {number(whole['share_differing'])} of all entries differ", width)
    top, left, bottom = 0.16 + 0.17 * (title.count("\n") + 1), 0.5, 0.12 + 0.055 * max(map(len, layers))
    height = 0.24 * min(len(blocks), MOST_BLOCKS_WITH_NUMBERS)
    axes = panel(left + 0.12 + width, top + bottom + max(0.6, height), left=left, top=top, bottom=bottom)
    axes.set_title(title, color=INK, fontsize=9, weight="bold", linespacing=1.3)
    texts = _texts(values) if len(blocks) <= MOST_BLOCKS_WITH_NUMBERS else {}
    draw_cells(axes, values, shape=(len(blocks), len(layers)), norm=norm, colours=_SEQUENTIAL, texts=texts)
    every = max(1, len(blocks) // MOST_BLOCKS_WITH_NUMBERS)
    axes.set_yticks(np.arange(len(blocks))[::every] + 0.5, [str(block) for block in blocks[::every]])
    axes.set_xticks(np.arange(len(layers)) + 0.5, layers, fontsize=7.5, rotation=90)
    axes.set_ylabel("block", fontsize=8)
    most = max(cells, key=lambda row: (row["share_differing"], -row["block"]))
    said = f"most in block {most['block']}, {most['layer']}: {number(most['share_differing'])}"
    return to_svg(axes, anchor, label=f"Published choices against corrected, {label}: {said}")


def _texts(values: Mapping[tuple[int, int], float]) -> Mapping[tuple[int, int], str]:
    return {place: number(value, digits=2) for place, value in values.items()}
