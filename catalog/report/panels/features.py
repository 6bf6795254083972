"""Large features by depth, and their overlaps between demonstration sets."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from catalog.report.exhibits import (
    Grid,
    Group,
    LegendEntry,
    Panel,
    Scale,
    Size,
    distinct,
    evenly_spaced,
    grouped,
    name_with_dtype,
    omission_note,
    some,
)
from catalog.report.labels import Facets, facets_of, number, set_label
from catalog.report.marks import Heat, start
from catalog.report.styles import GREY, SeriesStyle, first_styles
from catalog.results import Row

MAX_FEATURES = 5
"""Number of features that have a line."""
_OTHER = SeriesStyle(GREY, ".")
MAX_SETS = 24
"""Maximum number of panels; their sets are chosen at even distances."""
_MAX_LINEAR_RATIO = 30.0
"""Ratio of the largest to the smallest magnitude above which the scale is logarithmic."""
_MANY_DECADES = 2000.0
"""Ratio up to which a logarithmic scale has ticks at 1, 2 and 5 times each power of ten."""
_SET = ("demonstration_set_id", "kind", "source_language", "target_language", "seed", "profile")
MAX_OVERLAP_SETS, MAX_DEPTHS = 14, 13
"""Maximum number of sets and of depths in figures of features, chosen at even distances. The page also has the rows of
other sets, which are hidden until their pair is chosen."""
_SHARED = Scale(0.0, 1.0)
MAX_ROWS = 120
"""Maximum number of rows of a table, including hidden ones, chosen at even distances."""


@dataclass(frozen=True)
class _Sets:
    """The demonstration sets on the axes of the heat maps of a model."""

    down: Mapping[str, str]
    """Id -> label of sets A."""
    across: Mapping[str, str]
    """The same for sets B."""
    facets: tuple[Facets, ...]
    """Of each set A."""


def magnitude_panels(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw the panels of every model.

    Args:
        rows: result of `largest_features.sql`.
    """
    for _, members in grouped(rows, "base_model", "base_model_id"):
        counts = Counter(row["feature"] for row in members)
        often = sorted(counts, key=lambda feature: (-counts[feature], feature))[:MAX_FEATURES]
        recurring = first_styles(often)
        magnitudes = [row["magnitude"] for row in members]
        shown, note = some([set_rows for _, set_rows in grouped(members, *_SET)], MAX_SETS, "sets")
        names = _set_names([set_rows[0] for set_rows in shown])
        draw = partial(_set_panel, recurring=recurring, scale=(min(magnitudes), max(magnitudes)))
        yield Group(
            title=f"{members[0]['base_model']}{note}",
            panels=tuple(draw(set_rows, name=name) for set_rows, name in zip(shown, names, strict=True)),
            rows=members,
            legend=(
                *(LegendEntry.of_series(f"feature {feature}", style) for feature, style in recurring.items()),
                LegendEntry.of_series("another large feature", _OTHER, line=False),
            ),
        )


def _set_names(rows: Sequence[Row]) -> list[str]:
    """Return short labels of sets with their kind; equal ones have the settings that only some of them have."""
    columns = ("kind", "source_language", "target_language")
    names = [set_label(*(row[name] for name in columns), seed=row["seed"], profile=row["profile"]) for row in rows]
    names = [f"{name} · {row['kind']}" for name, row in zip(names, rows, strict=True)]
    settings = [str(row.get("settings") or "").split(", ") for row in rows]
    shared = [word for word in settings[0] if all(word in words for words in settings)]
    full = [
        ", ".join([name, *(word for word in words if word and word not in shared)]) if names.count(name) > 1 else name
        for name, words in zip(names, settings, strict=True)
    ]
    ids = [str(row["demonstration_set_id"])[:4] for row in rows]
    return [name if full.count(name) == 1 else f"{name} #{key}" for name, key in zip(full, ids, strict=True)]


def _set_panel(
    rows: Sequence[Row], *, name: str, recurring: Mapping[int, SeriesStyle], scale: tuple[float, float]
) -> Panel:
    largest = max(rows, key=lambda row: row["magnitude"])
    position = f"feature {largest['feature']} at depth {largest['depth']}, magnitude {largest['magnitude']:.3g}"
    return Panel(
        label=f"Largest features on {name}; largest of all: {position}",
        size=Size(3.3, 2.5, left=0.75),
        draw=partial(_draw_set, rows=rows, title=name, recurring=recurring, scale=scale),
        facets=facets_of(rows[0], only=("pair",)),
    )


def _draw_set(
    axes: Axes, *, rows: Sequence[Row], title: str, recurring: Mapping[int, SeriesStyle], scale: tuple[float, float]
) -> None:
    start(axes, title)
    others = [row for row in rows if row["feature"] not in recurring]
    places = ([row[name] for row in others] for name in ("depth", "magnitude"))
    axes.plot(*places, ".", color=GREY, markersize=3)
    depths = sorted(distinct(rows, "depth"))
    for feature, style in recurring.items():
        large = {row["depth"]: row["magnitude"] for row in rows if row["feature"] == feature}
        values = [large.get(depth, math.nan) for depth in depths]
        axes.plot(depths, values, color=style.colour, linewidth=1.0, markersize=4, zorder=3, **style.marker_options)
    _set_scale(axes, *scale)
    axes.set_xlabel("blocks passed, 0: embeddings")
    axes.set_ylabel("magnitude")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _set_scale(axes: Axes, smallest: float, largest: float) -> None:
    """Set the scale that all panels share; it is logarithmic if the range is too large for a linear one."""
    if smallest > 0 and largest / smallest > _MAX_LINEAR_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if largest / smallest < _MANY_DECADES else (1,)))
        axes.yaxis.set_major_formatter(lambda magnitude, _: f"{magnitude:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(smallest / 1.3, largest * 1.3)
    else:
        axes.set_ylim(0, largest * 1.06 or 1.0)


def feature_heat_maps(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per depth, with a row per set of large features and a column per set of small features.

    The features that are large in both sets, which do not depend on the share, have a group of their own per model.

    Args:
        rows: result of `feature_overlaps.sql`.
    """
    models: set[tuple[str, str | None]] = set()
    for (source, model_id, dtype, share), members in grouped(rows, "base_model", "base_model_id", "dtype", "share"):
        model = name_with_dtype(source, dtype, rows)
        scale = Scale.from_zero((row["value"] for row in members), least=share)
        down, across = _set_labels(members, "a"), _set_labels(members, "b")
        across = dict(
            sorted(across.items(), key=lambda item: list(down).index(item[0]) if item[0] in down else len(down))
        )
        shown = {key: across[key] for key in evenly_spaced(list(across), MAX_OVERLAP_SETS)}
        pairs = {row["set_a"]: facets_of(row, only=("pair",)) for row in members}
        visible = evenly_spaced(list(down), MAX_OVERLAP_SETS)
        included = {*visible, *evenly_spaced(list(pairs), MAX_ROWS)}
        hidden = {key: {**row, "detail": ""} for key, row in pairs.items() if key not in visible}
        facets = {key: hidden.get(key, row) for key, row in pairs.items() if key in included}
        sets = _Sets({key: down[key] for key in facets}, shown, tuple(facets.values()))
        drawn, omitted = some([cells for _, cells in grouped(members, "depth")], MAX_DEPTHS, "depths")
        note = omission_note(len(shown), len(across), "sets") + omitted
        yield Group(
            title=f"{model}: large in A and small in B, the largest and smallest {share:g} of all features; unrelated "
            f"sets would give {share:g}{note}",
            panels=tuple(_feature_grid(cells, sets, scale=scale) for cells in drawn),
            rows=members,
            legend=(LegendEntry(label=f"0: no large feature of A is small in B|{scale.high:.2g}", scale=scale),),
        )
        shared = () if (model_id, dtype) in models else tuple(_shared_grids(drawn, sets))
        if shared:
            yield Group(
                title=f"{model}: large in both A and B{note}",
                panels=shared,
                rows=members,
                legend=(LegendEntry(label="0: none is large in both|1: the same large features", scale=_SHARED),),
            )
        models.add((model_id, dtype))


def _set_labels(rows: Sequence[Row], side: str) -> Mapping[str, str]:
    """Return id -> label of sets A or B, in the order of the axes; equal labels are followed by the start of the id."""
    columns = ("kind", "source", "target", "seed", "profile")
    sets = {row[f"set_{side}"]: tuple(row[f"{column}_{side}"] for column in columns) for row in rows}
    labels = {key: set_label(*values[:3], seed=values[3], profile=values[4]) for key, values in sets.items()}
    all_labels = list(labels.values())
    return {key: label if all_labels.count(label) == 1 else f"{label} {key[:4]}" for key, label in labels.items()}


def _shared_grids(depths: Sequence[Sequence[Row]], sets: _Sets) -> list[Grid]:
    """Return one heat map per depth with the fraction of large features of A that are large in B too."""
    grids = []
    for rows in depths:
        known = [row for row in rows if row.get("top_shared") is not None]
        if known:
            by_chance = number(known[0]["top_by_chance"], digits=2)
            title = f"{known[0]['n_top']} largest {_depth_name(known)}, by chance {by_chance}"
            grid = _feature_grid(known, sets, scale=_SHARED, column="top_shared", title=title)
            grids.append(replace(grid, column_name="large in B"))
    return grids


def _depth_name(rows: Sequence[Row]) -> str:
    return "of the embeddings" if rows[0]["depth"] == 0 else f"after block {rows[0]['depth'] - 1}"


def _feature_grid(rows: Sequence[Row], sets: _Sets, *, scale: Scale, column: str = "value", title: str = "") -> Grid:
    """Draw one depth."""
    name = "embeddings" if rows[0]["depth"] == 0 else f"block {rows[0]['depth'] - 1}"
    drawn = Heat(
        column,
        down=("set_a", sets.down),
        across=("set_b", sets.across),
        title=title or name,
        about=f"Shared {title}" if title else f"Overlap of large and small features after {name}",
        scale=scale,
        axes=("large in A", "small in B"),
    )
    return drawn.grid(rows, row_facets=sets.facets)
