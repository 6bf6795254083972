"""Removed weights by layer, and differences between masks of different profiles."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import Group, LegendEntry, distinct, evenly_spaced, grouped, omission_note
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import facets_of
from catalog.report.labels import method_label, number, text_range
from catalog.results import Row

MAX_PAIRS, MAX_METHODS = 16, 12
"""Maximum number of heat maps. Pairs are chosen at even distances; of methods, the most uneven ones are drawn."""
_METHOD = ("score", "set_kind", "propagation", "structure", "settings", "sparsity")


def layer_heat_maps(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one heat map per method at its largest sparsity: the removed fraction, a row per block, a column per layer.

    Args:
        rows: result of `layer_profiles.sql`, which leaves out methods that remove the same fraction of every layer.
    """
    groups = []
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        methods = [cells for _, cells in grouped(members, *_METHOD)]
        shown = methods[:MAX_METHODS]
        scale = Scale(0.0, max(row["removed_share"] for row in members) or 1.0)
        groups.append(
            Group(
                title=str(model) + omission_note(len(shown), len(methods), "methods that remove unevenly"),
                panels=tuple(_layer_grid(cells, scale=scale) for cells in shown),
                rows=members,
                legend=(LegendEntry(label=f"0|{number(scale.high)} of the weights are removed", scale=scale),),
                facets=facets_of(members[0], only=("model",)),
            )
        )
    return tuple(groups)


def _method_name(rows: Sequence[Row]) -> str:
    return f"{method_label(rows[0])}, sparsity {rows[0]['sparsity']:.3g}"


def _layer_grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    shares = [row["removed_share"] for row in rows]
    title = _method_name(rows)
    span = f"from {number(min(shares))} to {number(max(shares))}"
    return block_by_layer(
        rows, column="removed_share", title=title, label=f"Removed weights by layer, {title}: {span}", scale=scale
    )


def profile_heat_maps(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one heat map per pair of variants: the fraction of differing entries, a row per block, a column per layer.

    Args:
        rows: result of `profile_differences.sql`: for each pair, rows for layers, blocks and the whole model.
    """
    groups = []
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        pairs = [pair_rows for _, pair_rows in grouped(members, "corrected_id", "paper_id")]
        shown = evenly_spaced(pairs, MAX_PAIRS)
        scale = Scale(0.0, max(0.01, *(row["share_differing"] for row in members)))
        groups.append(
            Group(
                title=f"{model}: {_summary(members)}" + omission_note(len(shown), len(pairs), "pairs of variants"),
                panels=tuple(_pair_grid(pair_rows, scale=scale) for pair_rows in shown),
                rows=members,
                legend=(LegendEntry(f"0: the same mask|{number(scale.high)} of the entries differ", scale=scale),),
                facets=facets_of(members[0], only=("model",)),
            )
        )
    return tuple(groups)


def _summary(rows: Sequence[Row]) -> str:
    """Return the fraction of differing entries over all layers, and the fraction for unrelated masks."""
    model_rows = [row for row in rows if row["block"] is None]
    shares = [row["share_differing"] for row in model_rows]
    chances = [row["share_by_chance"] for row in model_rows]
    difference = f"over all layers {_span(shares)} of the mask entries differ"
    return f"{difference}; for unrelated masks of these sparsities it would be {_span(chances)}"


def _span(values: Sequence[float]) -> str:
    return text_range(number(min(values)), number(max(values)))


def _pair_grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    model_row = next(row for row in rows if row["block"] is None)
    cells = [row for row in rows if row["layer"] is not None]
    label = str(model_row["label"])
    most = max(cells, key=lambda row: (row["share_differing"], -row["block"]))
    span = f"most in block {most['block']}, {most['layer']}: {number(most['share_differing'])}"
    return block_by_layer(
        cells,
        column="share_differing",
        title=f"{label}, {number(model_row['share_differing'])} of all entries differ",
        label=f"Published and corrected choices, {label}: {span}",
        scale=scale,
    )


def block_by_layer(rows: Sequence[Row], *, column: str, title: str, label: str, scale: Scale) -> Grid:
    """Return a heat map of one column with a row per block and a column per layer; blocks count from 0."""
    blocks, layers = sorted(distinct(rows, "block")), distinct(rows, "layer")
    values = {(blocks.index(row["block"]), layers.index(row["layer"])): row[column] for row in rows}
    return Grid(
        title=title,
        label=label,
        rows=tuple(str(block) for block in blocks),
        columns=tuple(layers),
        values=values,
        texts={index: number(value, digits=2) for index, value in values.items()},
        scale=scale,
        row_name="block",
        column_name="layer",
        facets=facets_of(rows[0], only=("score",)),
    )
