"""Removed weights by block and layer, and differences between masks of sets and of profiles."""

from collections.abc import Iterator, Sequence

from catalog.report import labels
from catalog.report.exhibits import Grid, Group, LegendEntry, Panel, Scale, distinct, grouped, omission_note, some
from catalog.report.marks import Heat, Line, Lines, block_by_layer, first_lines
from catalog.report.styles import GREY, MAX_IN_LEGEND, SeriesStyle, method_label
from catalog.results import Row

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
        variants, note = some([of for _, of in grouped(members, "variant_id")], MAX_IN_LEGEND, "variants")
        lines = first_lines(variants, lambda row: str(row["label"]))
        removed = Lines(
            "block",
            "removed_share",
            title="removed fraction of a block's weights",
            about=f"Removed weights by block, {len(variants)} variants",
            xlabel="block",
        )
        yield Group(
            title=f"{model}{note}",
            panels=(removed.panel(lines), *_value_panels(members)),
            rows=members,
            legend=tuple(line.entry for line in lines),
        )


def _value_panels(rows: Sequence[Row]) -> Iterator[Panel]:
    """Yield a panel for each kind of values that schedules read."""
    outliers = [row for row in rows if row["outliers_id"]]
    if outliers:
        bounds = ", ".join(sorted({f"{row['outlier_m']:g}" for row in outliers}))
        about = f"Scores above {bounds} times the block's mean, by block"
        yield _grey_lines(outliers, "outlier_ratio", about, "outliers_id", "outlier_m")
    for (name,), members in grouped((row for row in rows if row["block_values_id"]), "block_value_name"):
        yield _grey_lines(members, "block_value", f"{str(name).replace('_', ' ')} of a block", "block_values_id")


def _grey_lines(rows: Sequence[Row], column: str, about: str, *keys: str) -> Panel:
    by_block = [list({row["block"]: row for row in of}.values()) for _, of in grouped(rows, *keys)]
    title = "fraction of scores that are outliers" if column == "outlier_ratio" else about
    figure = Lines("block", column, title=title, about=about, xlabel="block")
    return figure.panel([Line(of, SeriesStyle(GREY, "s")) for of in by_block])


def layer_heat_maps(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per method at its largest sparsity: the removed fraction, a row per block, a column per layer.

    Args:
        rows: result of `layer_profiles.sql`, which leaves out methods that remove the same fraction of every layer.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        methods = [cells for _, cells in grouped(members, *_METHOD)]
        shown = methods[:MAX_METHODS]
        scale = Scale.from_zero(row["removed_share"] for row in members)
        yield Group(
            title=str(model) + omission_note(len(shown), len(methods), "methods that remove unevenly"),
            panels=tuple(_layer_grid(cells, scale=scale) for cells in shown),
            rows=members,
            legend=(LegendEntry(label=f"0|{labels.number(scale.high)} of the weights are removed", scale=scale),),
        )


def _layer_grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    title = f"{method_label(rows[0])}, sparsity {rows[0]['sparsity']:.3g}"
    return block_by_layer(rows, "removed_share", title=title, about=f"Removed weights by layer, {title}", scale=scale)


def profile_heat_maps(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one heat map per pair of variants: the fraction of differing entries, a row per block, a column per layer.

    Args:
        rows: result of `profile_differences.sql`: for each pair, rows for layers, blocks and the whole model.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        pairs = [pair_rows for _, pair_rows in grouped(members, "corrected_id", "paper_id")]
        shown, note = some(pairs, MAX_PAIRS, "pairs of variants")
        scale = Scale.from_zero((row["share_differing"] for row in members), least=0.01)
        yield Group(
            title=f"{model}: {_summary(members)}{note}",
            panels=tuple(_pair_grid(pair_rows, scale=scale) for pair_rows in shown),
            rows=members,
            legend=(LegendEntry(f"0: the same mask|{labels.number(scale.high)} of the entries differ", scale=scale),),
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
    label = str(model_row["label"])
    return block_by_layer(
        [row for row in rows if row["layer"] is not None],
        "share_differing",
        title=f"{label}, {labels.number(model_row['share_differing'])} of all entries differ",
        about=f"Published and corrected choices, {label}",
        scale=scale,
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
        scale = Scale.around_zero(row["difference"] for row in members)
        yield Group(
            title=f"{model}: values in the paper profile minus values in the corrected profile",
            panels=tuple(
                _metric_grid(cells, title=f"{task}, {split}: {str(metric).replace('_', ' ')}", scale=scale)
                for (task, split, metric), cells in grouped(members, "task", "split", "metric")
            ),
            rows=members,
            legend=(LegendEntry(label=f"{labels.number(scale.low)}|{labels.number(scale.high)}", scale=scale),),
        )


def _metric_grid(rows: Sequence[Row], *, title: str, scale: Scale) -> Grid:
    """Return a heat map with a row per variant and a column per language."""
    variants = [cells for _, cells in grouped(rows, "corrected_id")]
    shown, note = some(variants, MAX_PROFILE_VARIANTS, "variants")
    sizes = f"{min(row['n_corrected'] for row in rows)} and {min(row['n_paper'] for row in rows)}"
    drawn = Heat(
        "difference",
        down=("corrected_id", {cells[0]["corrected_id"]: str(cells[0]["label"]) for cells in shown}),
        across=("language", distinct(rows, "language")),
        text=lambda row: labels.number(row["difference"]),
        title=f"{title}, at least {sizes} examples{note}",
        about=f"Paper minus corrected, {title}",
        scale=scale,
        axes=("variant", ""),
    )
    return drawn.grid(rows)


def mask_profiles(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw heat maps of the corrected overlap for each model: one per method and sparsity.

    Args:
        rows: result of `mask_overlaps.sql`.
    """
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        methods = [cells for _, cells in grouped(members, "score", "propagation", "structure", "settings")]
        shown, _ = some(methods, MAX_MASK_METHODS, "methods")
        lowest = min((row["corrected"] for row in members if row["corrected"] is not None), default=0.0)
        scale = Scale(min(lowest, 0.99), 1.0)
        drawn = [of for cells in shown for _, of in some(grouped(cells, "sparsity"), MAX_SPARSITIES, "")[0]]
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
        )


def _grid(rows: Sequence[Row], *, scale: Scale) -> Grid:
    first = rows[0]
    least = min(rows, key=lambda row: (row["corrected"], row["block"], row["layer"]))
    title = f"{method_label({**first, 'set_kind': None})}, sparsity {first['sparsity']:.3g}"
    pairs = f"{first['n_pairs']} pair{'' if first['n_pairs'] == 1 else 's'} of variants"
    chance = sum(row["chance"] for row in rows) / len(rows)
    return block_by_layer(
        rows,
        "corrected",
        title=f"{title}: {pairs}, Jaccard by chance {labels.number(chance, digits=2)}",
        about=f"Overlap of removed weights, corrected for chance, {title}, least of {least['least_alike']}",
        scale=scale,
    )
