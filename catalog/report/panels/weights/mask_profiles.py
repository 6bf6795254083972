"""Overlap of removed weights between demonstration sets, corrected for chance: a row per block, a column per layer."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import Group, LegendEntry, evenly_spaced, grouped, omission_note
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.labels import method_label, number
from catalog.report.panels.layers import block_by_layer
from catalog.results import Row

MAX_METHODS, MAX_SPARSITIES = 6, 3
"""Maximum number of methods, and of heat maps of each, which are those of different sparsities; at even distances."""


def mask_profiles(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw heat maps of the corrected overlap for each model: one per method and sparsity.

    Args:
        rows: result of `mask_overlaps.sql`.
    """
    groups = []
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        methods = [cells for _, cells in grouped(members, "score", "propagation", "structure", "settings")]
        shown = evenly_spaced(methods, MAX_METHODS)
        lowest = min((row["corrected"] for row in members if row["corrected"] is not None), default=0.0)
        scale = Scale(min(lowest, 0.99), 1.0)
        grids = [grid for cells in shown for grid in _of_method(cells, scale=scale)]
        n_grids = len(grouped(members, "score", "propagation", "structure", "settings", "sparsity"))
        groups.append(
            Group(
                title=str(model) + omission_note(len(grids), n_grids, "methods and sparsities"),
                panels=tuple(grids),
                rows=members,
                legend=(
                    LegendEntry(f"{number(scale.low, digits=2)}|1: the same weights; unrelated masks: 0", scale=scale),
                ),
                facets={"model": str(model)},
            )
        )
    return tuple(groups)


def _of_method(rows: Sequence[Row], *, scale: Scale) -> list[Grid]:
    sparsities = [cells for _, cells in grouped(rows, "sparsity")]
    shown = evenly_spaced(sparsities, MAX_SPARSITIES)
    return [_grid([row for row in cells if row["corrected"] is not None], scale=scale) for cells in shown]


def _grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    first = rows[0]
    least = min(rows, key=lambda row: (row["corrected"], row["block"], row["layer"]))
    title = f"{method_label({**first, 'set_kind': None})}, sparsity {first['sparsity']:.3g}"
    pairs = f"{first['n_pairs']} pair{'' if first['n_pairs'] == 1 else 's'} of variants"
    where = f"block {least['block']}, {least['layer']}: {number(least['corrected'])}"
    return block_by_layer(
        rows,
        column="corrected",
        title=f"{title}: {pairs}, Jaccard by chance {number(_mean(rows, 'chance'), digits=2)}",
        label=f"Overlap of removed weights, corrected for chance, {title}: mean {number(_mean(rows, 'corrected'))}, "
        f"least in {where} ({least['least_alike']})",
        scale=scale,
    )


def _mean(rows: Sequence[Row], column: str) -> float:
    return float(sum(row[column] for row in rows) / len(rows))
