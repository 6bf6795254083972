"""Figures of sensitivity: losses of units, and agreement of languages."""

from collections.abc import Iterator, Sequence

from catalog.report import exhibits
from catalog.report.labels import number, task_label, with_interval
from catalog.report.marks import Dots, Heat, Mark, block_by_layer, half_matrix
from catalog.report.styles import BLUE, GREY, SeriesStyle
from catalog.results import Row

_ANALYSIS = ("sensitivity_id", "score", "demonstration_label")
_UNITS = {"block": "block", "layer": "layer kind", "block_layer": "block and layer"}
MAX_LANGUAGES, N_MOST = 12, 5
"""Maximum number of panels of an analysis with one per language, and number of most sensitive units in each."""
SCALE = exhibits.Scale(-1.0, 1.0, is_diverging=True)
_TOO_FEW_UNITS = (
    "Correlations over fewer than ten units are not shown: they mostly show what the correction for sampling error "
    "assumes, not the units."
)


def loss_panels(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one figure per analysis: heat maps of all losses, then the most sensitive units of each language.

    Args:
        rows: result of `sensitivity_losses.sql`.
    """
    for _, members in exhibits.grouped(rows, *_ANALYSIS):
        first = members[0]
        scale = exhibits.Scale.around_zero(
            (row["loss"] for row in members), least=1e-9
        )  # orange is better than dense, purple worse
        kind, measure = _UNITS[first["unit_kind"]], _measure(first)
        by_language = [cells for _, cells in exhibits.grouped(members, "language")]
        shown = by_language[:MAX_LANGUAGES]
        maps = [_by_language(members, scale=scale)] if first["unit_kind"] != "block_layer" else []
        maps += [_of_language(cells, scale=scale) for cells in shown if first["unit_kind"] == "block_layer"]
        yield exhibits.Group(
            title=f"{task_label(first)}: {first['score']} at {first['sparsity']:g}, by {kind}"
            + exhibits.omission_note(len(shown), len(by_language), "languages"),
            panels=(*maps, *(_most_panel(cells) for cells in shown)),
            rows=members,
            legend=(
                exhibits.LegendEntry(
                    f"better {number(scale.low, signed=True)}|{number(scale.high, signed=True)} worse: {measure}",
                    scale=scale,
                ),
            ),
        )


def _measure(row: Row) -> str:
    if row["scale"] == "nats":
        return f"{row['metric'].replace('_', ' ')}, nats"
    return f"ln of the ratio of {row['metric']}" if row["scale"] == "log_ratio" else f"loss of {row['metric']}"


def _by_language(rows: Sequence[Row], *, scale: exhibits.Scale) -> exhibits.Grid:
    """Return a heat map with a row per language and a column per unit; a star is significant over the units."""
    drawn = Heat(
        "loss",
        down=("language", exhibits.distinct(rows, "language")),
        across=("unit", exhibits.distinct(rows, "unit")),
        text=lambda row: number(row["loss"], digits=2) + ("*" if is_needed(row) else ""),
        title=f"{_measure(rows[0])}; * p < 0.05 over the units (max-T)",
        about=f"{_measure(rows[0])} by language and unit",
        scale=scale,
        axes=("language", _UNITS[rows[0]["unit_kind"]]),
    )
    return drawn.grid(rows)


def _of_language(rows: Sequence[Row], *, scale: exhibits.Scale) -> exhibits.Grid:
    language = str(rows[0]["language"])
    about = f"{_measure(rows[0])} in {language} by block and layer"
    return block_by_layer(rows, "loss", title=language, about=about, scale=scale)


def is_needed(row: Row) -> bool:
    """Whether the loss is above 0 after correction over the units."""
    return row["loss"] is not None and row["loss"] > 0 and row["p_max_t"] is not None and row["p_max_t"] < 0.05


def _most_panel(rows: Sequence[Row]) -> exhibits.Panel:
    known = [row for row in rows if row["loss"] is not None]
    return Dots(
        lambda row: str(row["unit"]),
        (Mark("loss", "loss", SeriesStyle(GREY, "o")),),
        title=str(rows[0]["language"]),
        about=f"Most sensitive units in {rows[0]['language']}",
        style=lambda row: SeriesStyle(BLUE, "D") if is_needed(row) else None,
    ).panel(sorted(known, key=lambda row: -row["loss"])[:N_MOST])


def agreement_matrices(rows: Sequence[Row]) -> tuple[exhibits.Group, ...]:
    """Draw one matrix of languages per analysis: the corrected correlation above its interval.

    An analysis of fewer than ten units has no correlations; a sentence says why.

    Args:
        rows: result of `sensitivity_agreement.sql`.
    """
    return tuple(
        exhibits.Group(
            title=f"{task_label(members[0])}: {members[0]['n_units']} units at {members[0]['sparsity']:g}, by "
            f"{str(members[0]['unit_kind']).replace('_', ' and ')}",
            panels=(_matrix(known),) if known else (),
            rows=members,
            legend=(exhibits.LegendEntry("−1|+1: the same units matter to both", scale=SCALE),) if known else (),
            note="" if len(known) == len(members) else _TOO_FEW_UNITS,
        )
        for _, members in exhibits.grouped(rows, "sensitivity_id")
        for known in ([row for row in members if row["corrected"] is not None],)
    )


def _matrix(rows: Sequence[Row]) -> exhibits.Grid:
    return half_matrix(
        rows,
        "corrected",
        other="other_language",
        text=_text,
        title="rank correlation of losses over the units, with 95 % intervals",
        about=f"Agreement of languages: {', '.join(map(_interval, rows))}",
        scale=SCALE,
        axes=("language", "other language"),
    )


def _interval(row: Row) -> str:
    value = with_interval(row["corrected"], row["ci_low"], row["ci_high"])
    return f"{row['language']} and {row['other_language']} {value}"


def _text(row: Row) -> str:
    ends = [number(row[name], digits=2) for name in ("ci_low", "ci_high")]
    return f"{number(row['corrected'], digits=2)} ({ends[0]} to {ends[1]})"
