"""Figure of block influence: how much each block changes the states, by language."""

from collections.abc import Iterator, Sequence

from catalog.report import exhibits
from catalog.report.marks import Lines, first_lines
from catalog.report.styles import MAX_IN_LEGEND
from catalog.results import Row


def influence_panels(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one panel per model, with a line per set of one language and its intervals.

    Args:
        rows: result of `influence_by_language.sql`.
    """
    for (model, _), members in exhibits.grouped(rows, "base_model", "base_model_id"):
        sets = [cells for _, cells in exhibits.grouped(members, "block_influence_id")]
        shown, note = exhibits.some(sets, MAX_IN_LEGEND, "sets")
        lines = first_lines(shown, lambda row: str(row["language"] or row["kind"]))
        figure = Lines(
            "block",
            "influence",
            title="1 − cosine before and after the block",
            about="Block influence by language",
            xlabel="block",
            ends="ci",
            size=exhibits.Size(max(3.6, 0.9 + 0.22 * max(map(len, shown))), 2.8),
        )
        legend = tuple(line.entry for line in lines)
        yield exhibits.Group(f"{model}{note}", panels=(figure.panel(lines),), rows=members, legend=legend)
