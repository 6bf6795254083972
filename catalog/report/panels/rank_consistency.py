"""RankC, the similarity of rankings in two languages: values with English, and matrices of all languages."""

from collections.abc import Iterator, Sequence

from catalog.report.exhibits import Grid, Group, LegendEntry, Panel, Scale, grouped
from catalog.report.labels import facets_of, number, task_label
from catalog.report.marks import Dots, Mark, half_matrix, legend_of
from catalog.report.styles import BLUE, GREY, VERMILLION, SeriesStyle
from catalog.results import Row

_TASK = ("base_model", "base_model_id", "task", "split")
_VALUES = (
    Mark("dense model", "dense", SeriesStyle(GREY, "s"), ends="dense_ci"),
    Mark("chosen variant", "chosen", SeriesStyle(BLUE, "o"), ends="chosen_ci"),
    Mark("chance", "chance", SeriesStyle(VERMILLION, "D", is_hollow=True), ends=""),
)
_CHANGE = Mark("chosen variant minus dense", "difference", SeriesStyle(BLUE, "o"), ends="difference_ci")


def consistency_intervals(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw two intervals per language, for the dense model and the variant chosen for it; one panel per model and task.

    Args:
        rows: result of `rank_consistency.sql`.
    """
    return tuple(
        Group(
            title=task_label(members[0]),
            panels=tuple(_panels(members)),
            rows=members,
            legend=legend_of(_VALUES),
        )
        for _, members in grouped(rows, *_TASK)
    )


def _panels(rows: Sequence[Row]) -> Iterator[Panel]:
    """Yield a panel with the values, and one with the differences to dense, if some are stored."""
    title, name = "RankC with English", _language
    yield Dots(name, _VALUES, title=title, about=title, zero=None, is_signed=False).panel(
        [_side_by_side(cells) for _, cells in grouped(rows, "language")]
    )
    changed = [row for row in rows if not row["is_dense"] and row.get("difference") is not None]
    if changed:
        yield Dots(name, (_CHANGE,), title="chosen variant minus dense", about=f"{title}, {_CHANGE.name}").panel(
            changed
        )


def _language(row: Row) -> str:
    return str(row["language"])


def _side_by_side(rows: Sequence[Row]) -> Row:
    """Return the values of a language in one row, those of the dense model and of the chosen variant."""
    joined = {"language": rows[0]["language"], "dense": None, "chosen": None}
    joined["chance"] = next((row["chance"] for row in rows if row["chance"] is not None), None)
    for row in rows:
        side = "dense" if row["is_dense"] else "chosen"
        joined |= {side: row["rank_consistency"], f"{side}_ci_low": row["ci_low"], f"{side}_ci_high": row["ci_high"]}
    return joined


def consistency_matrices(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one matrix of languages for the dense model, and the differences from it for each variant that was chosen.

    Each pair of languages has one cell.

    Args:
        rows: result of `rank_matrices.sql`.
    """
    for _, members in grouped(rows, *_TASK):
        values = [row["rank_consistency"] for row in members if not row["chosen_for"]]
        scale = Scale(min(values, default=0.0), max(values, default=1.0))
        change = Scale.around_zero(row["difference"] for row in members)
        variants = [cells for _, cells in grouped(members, "variant_id")]
        yield Group(
            title=task_label(members[0]),
            panels=(
                *(_matrix(cells, "rank_consistency", scale) for cells in variants if not cells[0]["chosen_for"]),
                *(_matrix(cells, "difference", change) for cells in variants if cells[0]["chosen_for"]),
            ),
            rows=members,
            legend=(
                LegendEntry(label=f"{number(scale.low)}|{number(scale.high)}: dense model", scale=scale),
                LegendEntry(label=f"{number(change.low)}|{number(change.high)}: change from dense", scale=change),
            ),
        )


def _matrix(rows: Sequence[Row], column: str, scale: Scale) -> Grid:
    first = rows[0]
    chosen = first["chosen_for"]
    title = f"chosen for {chosen}: {first['label']}, minus dense" if chosen else "dense model"
    return half_matrix(
        rows,
        column,
        other="reference_language",
        title=title,
        about=f"RankC between languages, {title}",
        scale=scale,
        axes=("language", "reference"),
        facets=facets_of(first, only=("score", "pair")),
    )
