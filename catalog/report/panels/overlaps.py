"""Overlaps between demonstration sets: large features of one that are small, or large, in another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from catalog.report.drawing.exhibits import Group, LegendEntry, evenly_spaced, grouped, omission_note
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import Facets, facets_of
from catalog.report.labels import number, set_label
from catalog.results import Row

MAX_SETS, MAX_DEPTHS = 14, 13
"""Maximum number of sets and of depths in figures of features, chosen at even distances. The page also has the rows of
other sets, which are hidden until their pair is chosen."""
_SHARED = Scale(0.0, 1.0)
MAX_ROWS = 120
"""Maximum number of rows of a table, including hidden ones, chosen at even distances."""


def feature_heat_maps(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one heat map per depth, with a row per set of large features and a column per set of small features.

    The first group of a model also has heat maps of the features that are large in both sets.

    Args:
        rows: result of `feature_overlaps.sql`.
    """
    groups = []
    models: set[str] = set()
    for (model, model_id, share), members in grouped(rows, "base_model", "base_model_id", "share"):
        scale = Scale(0.0, max(share, *(row["value"] for row in members)))
        down, across = _set_labels(members, "a"), _set_labels(members, "b")
        across = dict(
            sorted(across.items(), key=lambda item: list(down).index(item[0]) if item[0] in down else len(down))
        )
        shown = {key: across[key] for key in evenly_spaced(list(across), MAX_SETS)}
        pairs = {row["set_a"]: facets_of(row, only=("pair",)) for row in members}
        facets = _facets_of_rows(pairs, shown=evenly_spaced(list(down), MAX_SETS))
        down = {key: down[key] for key in facets}
        depths = [cells for _, cells in grouped(members, "depth")]
        drawn = evenly_spaced(depths, MAX_DEPTHS)
        title = f"{model}: the largest and smallest {share:g} of all features; unrelated sets would give {share:g}"
        title += omission_note(len(shown), len(across), "sets") + omission_note(len(drawn), len(depths), "depths")
        groups.append(
            Group(
                title=title,
                panels=(
                    *(_feature_grid(cells, down, shown, facets=facets, scale=scale) for cells in drawn),
                    *(() if model_id in models else _shared_grids(drawn, down, shown, facets=facets)),
                ),
                rows=members,
                legend=(
                    LegendEntry(label=f"0: no large feature of A is small in B|{scale.high:.2g}", scale=scale),
                    LegendEntry(label="0: none is large in both|1: the same large features", scale=_SHARED),
                ),
                facets=facets_of(members[0], only=("model",)),
            )
        )
        models.add(model_id)
    return tuple(groups)


def _facets_of_rows(facets: Mapping[str, Facets], *, shown: Sequence[str]) -> Mapping[str, Facets]:
    """Return the facets of the rows of a table; rows that are initially hidden get the facet `detail`."""
    included = {*shown, *evenly_spaced(list(facets), MAX_ROWS)}
    return {key: row if key in shown else {**row, "detail": ""} for key, row in facets.items() if key in included}


def _set_labels(rows: Sequence[Row], side: str) -> Mapping[str, str]:
    """Return id -> label of sets A or B, in the order of the axes; equal labels are followed by the start of the id."""
    columns = ("kind", "source", "target", "seed", "profile")
    sets = {row[f"set_{side}"]: tuple(row[f"{column}_{side}"] for column in columns) for row in rows}
    labels = {key: set_label(*values[:3], seed=values[3], profile=values[4]) for key, values in sets.items()}
    all_labels = list(labels.values())
    return {key: label if all_labels.count(label) == 1 else f"{label} {key[:4]}" for key, label in labels.items()}


def _shared_grids(
    depths: Sequence[Sequence[Row]], down: Mapping[str, str], across: Mapping[str, str], *, facets: Mapping[str, Facets]
) -> list[Grid]:
    """Return one heat map per depth with the fraction of large features of A that are large in B too."""
    grids = []
    for rows in depths:
        known = [row for row in rows if row.get("top_shared") is not None]
        if known:
            by_chance = number(known[0]["top_by_chance"], digits=2)
            title = f"{known[0]['n_top']} largest {_depth_name(known)}, by chance {by_chance}"
            grid = _feature_grid(known, down, across, facets=facets, scale=_SHARED, column="top_shared")
            mean = number(sum(grid.values.values()) / len(grid.values))
            label = f"Shared largest features {_depth_name(known)}: mean {mean}, by chance {by_chance}"
            grids.append(replace(grid, title=title, label=label, column_name="large in B"))
    return grids


def _depth_name(rows: Sequence[Row]) -> str:
    return "of the embeddings" if rows[0]["depth"] == 0 else f"after block {rows[0]['depth'] - 1}"


def _feature_grid(
    rows: Sequence[Row],
    down: Mapping[str, str],
    across: Mapping[str, str],
    *,
    facets: Mapping[str, Facets],
    scale: Scale,
    column: str = "value",
) -> Grid:
    """Draw one depth; `down` and `across` are labels of sets A and B."""
    rows_of, columns_of = ({key: index for index, key in enumerate(labels)} for labels in (down, across))
    values = {
        (rows_of[row["set_a"]], columns_of[row["set_b"]]): row[column]
        for row in rows
        if row["set_a"] in rows_of and row["set_b"] in columns_of
    }
    name = "embeddings" if rows[0]["depth"] == 0 else f"block {rows[0]['depth'] - 1}"
    mean = sum(values.values()) / len(values)
    return Grid(
        title=name,
        label=f"Overlap of large and small features after {name}: mean {number(mean)}",
        rows=tuple(down.values()),
        columns=tuple(across.values()),
        values=values,
        texts={position: number(value, digits=2) for position, value in values.items()},
        scale=scale,
        row_name="large in A",
        column_name="small in B",
        row_facets=tuple(facets[key] for key in down),
    )
