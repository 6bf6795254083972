"""Effects of the published code's choices: differences between masks, and between metrics."""

from collections.abc import Iterator, Sequence

from catalog.report.drawing.exhibits import Group, LegendEntry, distinct, evenly_spaced, grouped, omission_note
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import facets_of
from catalog.report.labels import number
from catalog.report.panels.layers import profile_heat_maps
from catalog.results import Row

MAX_VARIANTS = 24
"""Maximum number of variants in one table of metric differences, evenly spaced."""
METRICS = ("accuracy", "rank_consistency", "bleu")


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
            legend=(LegendEntry(label=f"-{number(largest)}|{number(largest)}", scale=scale),),
            facets=facets_of(members[0], only=("model",)),
        )


def _metric_grid(rows: Sequence[Row], *, title: str, scale: Scale) -> Grid:
    """Return a heat map with a row per variant and a column per language."""
    variants = [cells for _, cells in grouped(rows, "corrected_id")]
    shown = evenly_spaced(variants, MAX_VARIANTS)
    languages = distinct(rows, "language")
    values = {
        (down, languages.index(row["language"])): row["difference"]
        for down, cells in enumerate(shown)
        for row in cells
        if row["difference"] is not None
    }
    sizes = f"{min(row['n_corrected'] for row in rows)} and {min(row['n_paper'] for row in rows)}"
    return Grid(
        title=f"{title}, at least {sizes} examples" + omission_note(len(shown), len(variants), "variants"),
        label=f"Paper minus corrected, {title}",
        rows=tuple(str(cells[0]["label"]) for cells in shown),
        columns=tuple(languages),
        values=values,
        texts={position: number(value) for position, value in values.items()},
        scale=scale,
        row_name="variant",
    )
