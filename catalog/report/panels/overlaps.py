"""What sets share: large features of one that are small in another, and weights that both leave out."""

from collections.abc import Mapping, Sequence

from catalog.report.drawing.exhibits import Group, LegendEntry, distinct, grouped, left_out, spread
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import Facets, facets_of
from catalog.report.labels import method_label, number, set_label
from catalog.results import Row

MOST_SETS, MOST_BLOCKS = 14, 25
"""Sets across and blocks drawn of features; of more, as many are drawn, evenly spread over their order. The rows of
further sets stand in the page too, hidden until their pair is chosen."""
MOST_PAIRS, MOST_METHODS = 40, 12
"""Pairs of sets and methods drawn of masks; rows of further pairs of sets are as hidden."""
MOST_ROWS = 120
"""Rows of a table with those that are hidden; of more, as many are kept, evenly spread over their order."""


def feature_heat_maps(rows: Sequence[Row]) -> tuple[Group, ...]:
    """One panel a block: large features of a set down, small features of a set across; a chosen pair keeps its rows.

    Args:
        rows: of `feature_overlaps.sql`.
    """
    groups = []
    for (model, _, share), members in grouped(rows, "base_model", "base_model_id", "share"):
        scale = Scale(0.0, max(share, *(row["value"] for row in members)))
        down, across = _set_labels(members, "a"), _set_labels(members, "b")
        across = dict(sorted(across.items(), key=lambda one: list(down).index(one[0]) if one[0] in down else len(down)))
        shown = {key: across[key] for key in spread(list(across), MOST_SETS)}
        pairs = {row["set_a"]: facets_of(row, only=("pair",)) for row in members}
        facets = _facets_of_rows(pairs, shown=spread(list(down), MOST_SETS))
        down = {key: down[key] for key in facets}
        depths = [cells for _, cells in grouped(members, "depth")]
        drawn = spread(depths, MOST_BLOCKS)
        title = f"{model}: the largest and smallest {share:g} of all features; unrelated sets would give {share:g}"
        title += left_out(len(shown), len(across), "sets") + left_out(len(drawn), len(depths), "depths")
        groups.append(
            Group(
                title=title,
                panels=tuple(_feature_grid(cells, down, shown, facets=facets, scale=scale) for cells in drawn),
                rows=members,
                legend=(LegendEntry(label=f"0: no large feature of A is small in B|{scale.high:.2g}", scale=scale),),
                facets=facets_of(members[0], only=("model",)),
            )
        )
    return tuple(groups)


def _facets_of_rows(facets: Mapping[str, Facets], *, shown: Sequence[str]) -> Mapping[str, Facets]:
    """The facets of the rows a table has, with those marked that are hidden at first."""
    kept = {*shown, *spread(list(facets), MOST_ROWS)}
    return {key: one if key in shown else {**one, "detail": ""} for key, one in facets.items() if key in kept}


def _set_labels(rows: Sequence[Row], side: str) -> Mapping[str, str]:
    """Id to label of sets A or B, in the order of the axes; sets of equal label get the first letters of their id."""
    words_of = ("kind", "source", "target", "seed", "profile")
    sets = {row[f"set_{side}"]: tuple(row[f"{word}_{side}"] for word in words_of) for row in rows}
    labels = {key: set_label(*words[:3], seed=words[3], profile=words[4]) for key, words in sets.items()}
    said = list(labels.values())
    return {key: label if said.count(label) == 1 else f"{label} {key[:4]}" for key, label in labels.items()}


def _feature_grid(
    rows: Sequence[Row],
    down: Mapping[str, str],
    across: Mapping[str, str],
    *,
    facets: Mapping[str, Facets],
    scale: Scale,
) -> Grid:
    """Labels of sets A `down` and of sets B `across`."""
    downs, acrosses = ({key: place for place, key in enumerate(labels)} for labels in (down, across))
    values = {
        (downs[row["set_a"]], acrosses[row["set_b"]]): row["value"]
        for row in rows
        if row["set_a"] in downs and row["set_b"] in acrosses
    }
    name = "embeddings" if rows[0]["depth"] == 0 else f"block {rows[0]['depth'] - 1}"
    mean = sum(values.values()) / len(values)
    return Grid(
        title=name,
        label=f"Overlap of large and small features after {name}: mean {number(mean)}",
        rows=tuple(down.values()),
        columns=tuple(across.values()),
        values=values,
        texts={place: number(value, digits=2) for place, value in values.items()},
        scale=scale,
        row_name="large in A",
        column_name="small in B",
        row_facets=tuple(facets[key] for key in down),
    )


def mask_heat_maps(rows: Sequence[Row]) -> tuple[Group, ...]:
    """One panel a method: pairs of demonstration sets down, blocks across; a chosen pair keeps the rows it is in.

    Args:
        rows: of `mask_overlaps.sql`.
    """
    groups = []
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        methods = [cells for _, cells in grouped(members, "score", "propagation", "structure", "settings", "sparsity")]
        drawn = spread(methods, MOST_METHODS)
        scale = Scale(0.0, 1.0)
        groups.append(
            Group(
                title=str(model) + left_out(len(drawn), len(methods), "methods"),
                panels=tuple(_mask_grid(cells, scale=scale) for cells in drawn),
                rows=members,
                legend=(LegendEntry(label="0: no weight is removed by both|1: the same weights", scale=scale),),
                facets=facets_of(members[0], only=("model",)),
            )
        )
    return tuple(groups)


def _mask_grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    pairs, blocks = distinct(rows, "sets"), sorted(distinct(rows, "block"))
    shown = spread(pairs, MOST_PAIRS)
    facets = _facets_of_rows({row["sets"]: facets_of(row, only=("pair",)) for row in rows}, shown=shown)
    places = {key: place for place, key in enumerate(facets)}
    values = {
        (places[row["sets"]], blocks.index(row["block"])): row["jaccard"] for row in rows if row["sets"] in places
    }
    mean = sum(row["jaccard"] for row in rows) / len(rows)
    title = f"{method_label({**rows[0], 'set_kind': None})}, sparsity {rows[0]['sparsity']:.3g}"
    return Grid(
        title=title + left_out(len(shown), len(pairs), "pairs of sets"),
        label=f"Overlap of removed weights by block, {title}: mean {number(mean)} over {len(pairs)} pairs of sets",
        rows=tuple(facets),
        columns=tuple(str(block) for block in blocks),
        values=values,
        texts={place: number(value, digits=2) for place, value in values.items()},
        scale=scale,
        column_name="block",
        facets=facets_of(rows[0], only=("score",)),
        row_facets=tuple(facets.values()),
    )
