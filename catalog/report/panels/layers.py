"""Removed weights by block and layer, and differences between masks of sets and of profiles."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from catalog.report import labels
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
    omission_note,
)
from catalog.report.svg import heat, start
from catalog.results import Row

MAX_VARIANTS = 9
"""Maximum number of lines in a figure; their variants are chosen at even distances."""
_SIZE = Size(3.9, 2.6)
STYLES = (
    labels.SeriesStyle(labels.BLUE, "o"),
    labels.SeriesStyle(labels.VERMILLION, "s"),
    labels.SeriesStyle(labels.GREEN, "^"),
    labels.SeriesStyle(labels.PURPLE, "D"),
    labels.SeriesStyle(labels.ORANGE, "v"),
    labels.SeriesStyle(labels.SKY, "P"),
    labels.SeriesStyle(labels.BLACK, "X"),
    labels.SeriesStyle("#882255", "o", is_hollow=True),
    labels.SeriesStyle("#999933", "s", is_hollow=True),
)
MAX_PAIRS, MAX_METHODS = 16, 12
"""Maximum number of heat maps. Pairs are chosen at even distances; of methods, the most uneven ones are drawn."""
_METHOD = ("score", "set_kind", "propagation", "structure", "settings", "sparsity")
MAX_PROFILE_VARIANTS = 24
"""Maximum number of variants in one table of metric differences, evenly spaced."""
METRICS = ("accuracy", "rank_consistency", "bleu")
MAX_MASK_METHODS, MAX_SPARSITIES = 6, 3
"""Maximum number of methods, and of heat maps of each, which are those of different sparsities; at even distances."""


def schedule_panels(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw for each model the removed fraction by block, and the values of blocks that schedules read, if any.

    Args:
        rows: result of `layer_schedule.sql`, without uniform schedules.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        variants = [variant_rows for _, variant_rows in grouped(members, "variant_id")]
        shown = evenly_spaced(variants, MAX_VARIANTS)
        ratios = dict(grouped((row for row in members if row["outliers_id"]), "outliers_id", "outlier_m"))
        values = grouped((row for row in members if row["block_values_id"]), "block_value_name")
        legend = [
            LegendEntry.of_series(str(variant_rows[0]["label"]), STYLES[index], dashed=_is_dashed(variant_rows))
            for index, variant_rows in enumerate(shown)
        ]
        yield Group(
            title=str(model) + omission_note(len(shown), len(variants), "variants"),
            panels=(
                _removed_panel(shown),
                *([_ratio_panel(ratios)] if ratios else []),
                *(_value_panel(str(name), rows) for (name,), rows in values),
            ),
            rows=members,
            legend=tuple(legend),
            facets=labels.facets_of(members[0], only=("model",)),
        )


def _is_dashed(rows: Sequence[Row]) -> bool:
    """Whether the line is dashed: for dense propagation, as in the curves."""
    return bool(rows[0]["propagation"] == "dense")


def _removed_panel(variants: Sequence[Sequence[Row]]) -> Panel:
    shares = [row["removed_share"] for rows in variants for row in rows]
    span = f"from {labels.number(min(shares))} to {labels.number(max(shares))} of a block, {len(variants)} variants"
    return Panel(label=f"Removed weights by block: {span}", size=_SIZE, draw=partial(_draw_removed, variants=variants))


def _draw_removed(axes: Axes, *, variants: Sequence[Sequence[Row]]) -> None:
    for index, rows in enumerate(variants):
        by_block = {row["block"]: row["removed_share"] for row in rows}
        axes.plot(
            list(by_block),
            list(by_block.values()),
            color=STYLES[index].colour,
            linestyle="--" if _is_dashed(rows) else "-",
            **STYLES[index].marker_options,
            markersize=4.5,
            linewidth=1.4,
        )
    largest = max(row["removed_share"] for rows in variants for row in rows)
    _finish(axes, title="removed fraction of a block's weights", largest=largest)


def _ratio_panel(ratios: Mapping[tuple[str, float], Sequence[Row]]) -> Panel:
    bounds = ", ".join(sorted({f"{m:g}" for _, m in ratios}))
    return _line_panel(
        f"Scores above {bounds} times the block's mean, by block",
        [_by_block(rows, "outlier_ratio") for rows in ratios.values()],
        title="fraction of scores that are outliers",
    )


def _value_panel(name: str, rows: Sequence[Row]) -> Panel:
    title = f"{name.replace('_', ' ')} of a block"
    lines = [_by_block(of_record, "block_value") for _, of_record in grouped(rows, "block_values_id")]
    return _line_panel(f"{title[0].upper()}{title[1:]}", lines, title=title)


def _by_block(rows: Sequence[Row], column: str) -> dict[int, float]:
    return {row["block"]: row[column] for row in rows}


def _line_panel(label: str, lines: Sequence[Mapping[int, float]], *, title: str) -> Panel:
    values = [value for by_block in lines for value in by_block.values()]
    span = f"from {labels.number(min(values), digits=4)} to {labels.number(max(values), digits=4)}"
    draw = partial(_draw_lines, lines=lines, title=title, largest=max(values))
    return Panel(label=f"{label}: {span}", size=_SIZE, draw=draw)


def _draw_lines(axes: Axes, *, lines: Sequence[Mapping[int, float]], title: str, largest: float) -> None:
    for by_block in lines:
        axes.plot(list(by_block), list(by_block.values()), color=labels.GREY, marker="s", markersize=4, linewidth=1.2)
    _finish(axes, title=title, largest=largest)


def _finish(axes: Axes, *, title: str, largest: float) -> None:
    start(axes, title)
    axes.set_ylim(0, largest * 1.08 or 1.0)
    axes.set_xlabel("block")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def layer_heat_maps(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per method at its largest sparsity: the removed fraction, a row per block, a column per layer.

    Args:
        rows: result of `layer_profiles.sql`, which leaves out methods that remove the same fraction of every layer.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        methods = [cells for _, cells in grouped(members, *_METHOD)]
        shown = methods[:MAX_METHODS]
        scale = Scale(0.0, max(row["removed_share"] for row in members) or 1.0)
        yield Group(
            title=str(model) + omission_note(len(shown), len(methods), "methods that remove unevenly"),
            panels=tuple(_layer_grid(cells, scale=scale) for cells in shown),
            rows=members,
            legend=(LegendEntry(label=f"0|{labels.number(scale.high)} of the weights are removed", scale=scale),),
            facets=labels.facets_of(members[0], only=("model",)),
        )


def _layer_grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    shares = [row["removed_share"] for row in rows]
    title = f"{labels.method_label(rows[0])}, sparsity {rows[0]['sparsity']:.3g}"
    span = f"from {labels.number(min(shares))} to {labels.number(max(shares))}"
    return block_by_layer(
        rows, column="removed_share", title=title, label=f"Removed weights by layer, {title}: {span}", scale=scale
    )


def profile_heat_maps(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per pair of variants: the fraction of differing entries, a row per block, a column per layer.

    Args:
        rows: result of `profile_differences.sql`: for each pair, rows for layers, blocks and the whole model.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        pairs = [pair_rows for _, pair_rows in grouped(members, "corrected_id", "paper_id")]
        shown = evenly_spaced(pairs, MAX_PAIRS)
        scale = Scale(0.0, max(0.01, *(row["share_differing"] for row in members)))
        yield Group(
            title=f"{model}: {_summary(members)}" + omission_note(len(shown), len(pairs), "pairs of variants"),
            panels=tuple(_pair_grid(pair_rows, scale=scale) for pair_rows in shown),
            rows=members,
            legend=(LegendEntry(f"0: the same mask|{labels.number(scale.high)} of the entries differ", scale=scale),),
            facets=labels.facets_of(members[0], only=("model",)),
        )


def _summary(rows: Sequence[Row]) -> str:
    """Return the fraction of differing entries over all layers, and the fraction for unrelated masks."""
    model_rows = [row for row in rows if row["block"] is None]
    shares = [row["share_differing"] for row in model_rows]
    chances = [row["share_by_chance"] for row in model_rows]
    difference = f"over all layers {_span(shares)} of the mask entries differ"
    return f"{difference}; for unrelated masks of these sparsities it would be {_span(chances)}"


def _span(values: Sequence[float]) -> str:
    return labels.text_range(labels.number(min(values)), labels.number(max(values)))


def _pair_grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    model_row = next(row for row in rows if row["block"] is None)
    cells = [row for row in rows if row["layer"] is not None]
    label = str(model_row["label"])
    most = max(cells, key=lambda row: (row["share_differing"], -row["block"]))
    span = f"most in block {most['block']}, {most['layer']}: {labels.number(most['share_differing'])}"
    return block_by_layer(
        cells,
        column="share_differing",
        title=f"{label}, {labels.number(model_row['share_differing'])} of all entries differ",
        label=f"Published and corrected choices, {label}: {span}",
        scale=scale,
    )


def block_by_layer(rows: Sequence[Row], *, column: str, title: str, label: str, scale: Scale) -> Grid:
    """Return a heat map of one column with a row per block and a column per layer; blocks count from 0."""
    return heat(
        rows,
        column,
        down=("block", sorted(distinct(rows, "block"))),
        across=("layer", distinct(rows, "layer")),
        title=title,
        label=label,
        scale=scale,
        row_name="block",
        column_name="layer",
        facets=labels.facets_of(rows[0], only=("score",)),
    )


def profile_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw the differences between masks, then those between metrics.

    Args:
        rows: result of `profile_differences.sql`.
    """
    masks = [row for row in rows if row["compared"] == "masks"]
    metrics = [row for row in rows if row["compared"] == "metrics" and row["metric"] in METRICS]
    to_english = [row for row in metrics if row["reference_language"] in (None, "en")]
    return (*profile_heat_maps(masks), *_metric_groups(to_english))


def _metric_groups(rows: Sequence[Row]) -> Iterator[Group]:
    """Yield one group per base model, with a table per task, split and metric."""
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        largest = max(0.01, *(abs(row["difference"]) for row in members if row["difference"] is not None))
        scale = Scale(-largest, largest, is_diverging=True)
        yield Group(
            title=f"{model}: values in the paper profile minus values in the corrected profile",
            panels=tuple(
                _metric_grid(cells, title=f"{task}, {split}: {str(metric).replace('_', ' ')}", scale=scale)
                for (task, split, metric), cells in grouped(members, "task", "split", "metric")
            ),
            rows=members,
            legend=(LegendEntry(label=f"-{labels.number(largest)}|{labels.number(largest)}", scale=scale),),
            facets=labels.facets_of(members[0], only=("model",)),
        )


def _metric_grid(rows: Sequence[Row], *, title: str, scale: Scale) -> Grid:
    """Return a heat map with a row per variant and a column per language."""
    variants = [cells for _, cells in grouped(rows, "corrected_id")]
    shown = evenly_spaced(variants, MAX_PROFILE_VARIANTS)
    sizes = f"{min(row['n_corrected'] for row in rows)} and {min(row['n_paper'] for row in rows)}"
    return heat(
        rows,
        "difference",
        down=("corrected_id", {cells[0]["corrected_id"]: str(cells[0]["label"]) for cells in shown}),
        across=("language", distinct(rows, "language")),
        text=lambda row: labels.number(row["difference"]),
        title=f"{title}, at least {sizes} examples" + omission_note(len(shown), len(variants), "variants"),
        label=f"Paper minus corrected, {title}",
        scale=scale,
        row_name="variant",
    )


def mask_profiles(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw heat maps of the corrected overlap for each model: one per method and sparsity.

    Args:
        rows: result of `mask_overlaps.sql`.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        methods = [cells for _, cells in grouped(members, "score", "propagation", "structure", "settings")]
        shown = evenly_spaced(methods, MAX_MASK_METHODS)
        lowest = min((row["corrected"] for row in members if row["corrected"] is not None), default=0.0)
        scale = Scale(min(lowest, 0.99), 1.0)
        drawn = [of for cells in shown for _, of in evenly_spaced(grouped(cells, "sparsity"), MAX_SPARSITIES)]
        grids = [_grid([row for row in cells if row["corrected"] is not None], scale=scale) for cells in drawn]
        n_grids = len(grouped(members, "score", "propagation", "structure", "settings", "sparsity"))
        yield Group(
            title=str(model) + omission_note(len(grids), n_grids, "methods and sparsities"),
            panels=tuple(grids),
            rows=members,
            legend=(
                LegendEntry(
                    f"{labels.number(scale.low, digits=2)}|1: the same weights; unrelated masks: 0", scale=scale
                ),
            ),
            facets={"model": str(model)},
        )


def _grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    first = rows[0]
    least = min(rows, key=lambda row: (row["corrected"], row["block"], row["layer"]))
    title = f"{labels.method_label({**first, 'set_kind': None})}, sparsity {first['sparsity']:.3g}"
    pairs = f"{first['n_pairs']} pair{'' if first['n_pairs'] == 1 else 's'} of variants"
    where = f"block {least['block']}, {least['layer']}: {labels.number(least['corrected'])}"
    return block_by_layer(
        rows,
        column="corrected",
        title=f"{title}: {pairs}, Jaccard by chance {labels.number(_mean(rows, 'chance'), digits=2)}",
        label=f"Overlap of removed weights, corrected for chance, {title}: "
        f"mean {labels.number(_mean(rows, 'corrected'))}, least in {where} ({least['least_alike']})",
        scale=scale,
    )


def _mean(rows: Sequence[Row], column: str) -> float:
    return float(sum(row[column] for row in rows) / len(rows))
