"""Agreement of languages about sensitive units: a matrix of rank correlations per analysis."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import Group, LegendEntry, english_first, grouped
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import facets_of
from catalog.report.labels import number, task_label, with_interval
from catalog.results import Row

SCALE = Scale(-1.0, 1.0, is_diverging=True)


def agreement_matrices(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one matrix of languages per analysis: the corrected correlation above its interval.

    Args:
        rows: result of `sensitivity_agreement.sql`.
    """
    return tuple(
        Group(
            title=f"{task_label(members[0])}: {members[0]['n_units']} units at {members[0]['sparsity']:g}, by "
            f"{str(members[0]['unit_kind']).replace('_', ' and ')}",
            panels=(_matrix(members),),
            rows=members,
            legend=(LegendEntry("−1|+1: the same units matter to both", scale=SCALE),),
            facets=facets_of(members[0], only=("model", "task")),
        )
        for _, members in grouped(rows, "sensitivity_id")
    )


def _matrix(rows: Sequence[Row]) -> Grid:
    languages = english_first(language for row in rows for language in (row["language"], row["other_language"]))
    cells = {}
    for row in rows:
        places = sorted(languages.index(row[name]) for name in ("language", "other_language"))
        if row["corrected"] is not None:
            cells[places[1] - 1, places[0]] = row
    texts = (f"{row['language']} and {row['other_language']} {_interval(row)}" for row in rows)
    return Grid(
        title="rank correlation of losses over the units, with 95 % intervals",
        label=f"Agreement of languages: {', '.join(texts)}",
        rows=tuple(languages[1:]),
        columns=tuple(languages[:-1]),
        values={place: row["corrected"] for place, row in cells.items()},
        texts={place: _text(row) for place, row in cells.items()},
        scale=SCALE,
        row_name="language",
        column_name="other language",
    )


def _text(row: Row) -> str:
    ends = [number(row[name], digits=2) for name in ("ci_low", "ci_high")]
    return f"{number(row['corrected'], digits=2)} ({ends[0]} to {ends[1]})"


def _interval(row: Row) -> str:
    return with_interval(row["corrected"], row["ci_low"], row["ci_high"])
