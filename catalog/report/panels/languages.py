"""Figures of languages: English against the others, where accuracy breaks, source languages, and pooled differences."""

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes

from catalog.report import exhibits, labels
from catalog.report.marks import Dots, Heat, Mark, legend_of, start
from catalog.report.panels.differences import by_task, change_legend, method_key, method_legend
from catalog.report.styles import (
    BLACK,
    BLUE,
    DENSE,
    GREY,
    INK,
    MAX_IN_LEGEND,
    METHOD,
    QUIET,
    SeriesStyle,
    SeriesStyles,
    method_label,
    method_styles,
)
from catalog.results import Row

_TASK = ("task", "split", "scoring_rule", "example_limit")
_EVALUATED = (*_TASK, "languages")
MAX_POINTS, MAX_FRONT = 1_000, 50
"""Maximum number of points, and of those on the front, in a panel, chosen at even distances."""
Point = tuple[float, float]
"""Difference to the dense model in English and in the mean of the other languages."""
MAX_METHODS = 40
"""Maximum number of rows of a table; methods are chosen at even distances."""
_METHOD = ("method", "propagation", "settings", "shots", "samples")
MAX_SPARSITIES, MAX_SOURCE_METHODS, MAX_SOURCES = 4, 6, 30
"""Maximum number of sparsities of a task, of heat maps of a sparsity and of rows; chosen at even distances."""
SMALLEST_RANGE = 0.02
"""Smallest half width of a colour scale, so that noise does not get strong colours."""
MAX_POOLED, MAX_POOLED_LANGUAGES = 6, 30
"""Maximum number of variants of a task and of their languages; chosen at even distances."""
_ESTIMATES = (
    Mark("the language alone", "difference", SeriesStyle(GREY, "o")),
    Mark("pooled over the languages", "pooled", SeriesStyle(BLUE, "D"), ends="pooled_ci"),
)


def pareto_plots(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one figure per pruned model and task, with one panel per set of languages. Dense models are stars.

    The front is that of dev, its points are those of test.

    Args:
        rows: result of `pareto.sql`.
    """
    evaluated = dict(exhibits.grouped(rows, *_EVALUATED))
    for (_, *task), members in exhibits.grouped((row for row in rows if not row["is_dense"]), "base_model_id", *_TASK):
        dense = {
            languages: [row for row in evaluated[(*task, languages)] if row["is_dense"]]
            for (languages,), _ in exhibits.grouped(members, "languages")
        }
        styles = method_styles(members)
        panels = tuple(
            _plot(points, dense=dense[languages], styles=styles)
            for (languages,), points in exhibits.grouped(members, "languages")
        )
        drawn = [*(row for rows_of in dense.values() for row in rows_of), *members]
        title = labels.task_label(members[0], with_rule=exhibits.has_several_rules(rows, members[0]))
        yield exhibits.Group(title=title, panels=panels, rows=drawn, legend=_legend(members, styles))


def _plot(rows: Sequence[Row], *, dense: Sequence[Row], styles: SeriesStyles) -> exhibits.Panel:
    label = f"Change in English and in the mean of {rows[0]['n_others']} other languages, {len(rows)} variants; "
    label += _front_text([*dense, *rows])
    for row in dense:
        values = f"{labels.number(row['english_value'])} and {labels.number(row['others_value'])}"
        label += f"; {row['base_model']} dense: {values}"
    drawn = _drawn(rows)
    others = [language for language in str(rows[0]["languages"]).split() if language != "en"]
    title = f"others: {' '.join(others)}{exhibits.omission_note(len(drawn), len(rows), 'variants')}"
    draw = partial(_draw, rows=drawn, dense=dense, title=title, styles=styles)
    return exhibits.Panel(label=label, size=exhibits.Size(5.8, 4.2, left=0.7, right=0.35, bottom=0.5), draw=draw)


def _drawn(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of at most `MAX_POINTS` variants, `MAX_FRONT` of them on the front, in the same order."""
    front = exhibits.evenly_spaced([index for index, row in enumerate(rows) if row["is_efficient"]], MAX_FRONT)
    beaten = [index for index, row in enumerate(rows) if not row["is_efficient"]]
    return [rows[index] for index in sorted([*front, *exhibits.evenly_spaced(beaten, MAX_POINTS - len(front))])]


def _front_text(rows: Sequence[Row]) -> str:
    """Return the front of dev as text, or that there is none."""
    if all(row["is_efficient"] is None for row in rows):
        return "no front, because nothing was evaluated on dev"
    names = [f"{row['label']} ({row['probability']:.0%})" for row in rows if row["is_efficient"]]
    more = f" and {len(names) - MAX_FRONT} more" if len(names) > MAX_FRONT else ""
    return "on the front of dev, with the share of resamples: " + ", ".join(names[:MAX_FRONT]) + more


def _draw(axes: Axes, *, rows: Sequence[Row], dense: Sequence[Row], title: str, styles: SeriesStyles) -> None:
    start(axes, title, grid="both")
    axes.set_xlabel("change of accuracy in English")
    axes.set_ylabel("change of mean accuracy in the other languages")
    axes.axvline(0, color=BLACK, linewidth=0.8, linestyle=":", zorder=1)
    axes.axhline(0, color=BLACK, linewidth=0.8, linestyle=":", zorder=1)
    own = [row for row in dense if row["base_model_id"] == rows[0]["base_model_id"]]
    for (*method, _), points in exhibits.grouped(rows, *METHOD, "demonstration_label"):
        key = method_key(styles, tuple(method))
        name = f"{styles[tuple(method)].name}, " if len(styles) > MAX_IN_LEGEND else ""
        _draw_points(axes, points, styles[tuple(method)], dense=own, key=key, name=name)
    for row in dense:
        at = _point(row, own)
        axes.plot(*at, "*", color=BLACK if row in own else QUIET, markersize=12, zorder=4)
        if row not in own:
            axes.text(*at, f"  {row['base_model']}", fontsize=7.5, color=QUIET, va="center")
        elif row["is_efficient"]:
            axes.annotate(_probability(row), at, (6, -9), textcoords="offset points", fontsize=7.5, color=INK)


def _draw_points(
    axes: Axes, rows: Sequence[Row], style: SeriesStyle, *, dense: Sequence[Row], key: str, name: str
) -> None:
    """Draw the variants of one method and pair: those on the front of dev with intervals, the others pale.

    Args:
        name: start of the text of a point on the front.
    """
    options = style.marker_options | ({"markerfacecolor": "none"} if style.is_hollow else {})
    gid = labels.to_id({**labels.facets_of(rows[0], only=("score", "pair")), "key": key})
    beaten = [_point(row, dense) for row in rows if not row["is_efficient"]]
    places = [[point[side] for point in beaten] for side in (0, 1)]
    axes.plot(*places, linestyle="", **options, markersize=4, alpha=0.45, zorder=2, gid=gid)
    for row in (row for row in rows if row["is_efficient"]):
        at = _point(row, dense)
        for xs, ys in _intervals(row, at):
            axes.plot(xs, ys, color=style.colour, linewidth=1.0, zorder=3, gid=gid)
        axes.plot(*at, linestyle="", **options, markersize=7, zorder=4, gid=gid)
        text = f"{name}{row['sparsity']:g}, {_probability(row)}"
        axes.annotate(text, at, (6, 5), textcoords="offset points", fontsize=7.5, color=INK, gid=gid)


def _point(row: Row, dense: Sequence[Row]) -> Point:
    """Return the differences to dense: those of the comparison, or else of the values."""
    if row["english_difference"] is not None and row["others_difference"] is not None and not row["is_dense"]:
        return row["english_difference"], row["others_difference"]
    base = dense[0] if dense else row
    return row["english_value"] - base["english_value"], row["others_value"] - base["others_value"]


def _intervals(row: Row, at: Point) -> Iterator[tuple[list[float], list[float]]]:
    """Yield the ends of the intervals that exist, as coordinates."""
    if row["english_ci_low"] is not None and row["english_ci_high"] is not None:
        yield [row["english_ci_low"], row["english_ci_high"]], [at[1], at[1]]
    if row["others_ci_low"] is not None and row["others_ci_high"] is not None:
        yield [at[0], at[0]], [row["others_ci_low"], row["others_ci_high"]]


def _probability(row: Row) -> str:
    return f"{row['probability']:.0%}"


def _legend(rows: Sequence[Row], styles: SeriesStyles) -> tuple[exhibits.LegendEntry, ...]:
    front = exhibits.LegendEntry(label="large, with lines: on the front of dev (sparsity, probability)", colour=QUIET)
    dense = exhibits.LegendEntry.of_series("dense model", DENSE, line=False)
    return dense, *method_legend(rows, styles, line=False), front


def breaking_tables(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one table per model and task, with a row per method and a column per language.

    A cell is the interval that contains the breaking sparsity; its colour is the lower end.

    Args:
        rows: result of `breaking_sparsity.sql`.
    """
    for title, members in by_task(rows):
        methods = [cells for _, cells in exhibits.grouped(members, *_METHOD)]
        shown, omitted = exhibits.some(methods, MAX_METHODS, "methods")
        scale = exhibits.Scale.from_zero(row["last_not_below"] for row in members)
        yield exhibits.Group(
            title=title + omitted,
            panels=(_table(shown, scale=scale),),
            rows=members,
            legend=(exhibits.LegendEntry(f"0|{scale.high:g}: largest sparsity that is not below dense", scale=scale),),
            note=_note(members),
        )


def _power_note(differences: str) -> str:
    found = f"a true difference of {differences} is found with a power of 80 %"
    return f" In its family, {found} if the error is as estimated."


def _note(rows: Sequence[Row]) -> str:
    """Return the number of items and tests, what a test finds, and whether there is one seed, as text."""
    sizes = sorted({row["n"] for row in rows if row["n"] is not None})
    items = "" if not sizes else f"{labels.text_range(f'{sizes[0]:,}', f'{sizes[-1]:,}')} items. "
    differences = sorted(row["detectable_difference"] for row in rows if row["detectable_difference"] is not None)
    found = labels.text_range(labels.number(differences[0]), labels.number(differences[-1])) if differences else ""
    power = _power_note(found) if found else ""
    one_draw = all(row["n_variants"] == 1 for row in rows if row["demonstration_label"] is not None)
    return (
        f"{items}Holm's correction over at most {max(exhibits.distinct(rows, 'n_family'))} tests.{power}"
        f"{' Every set is a single draw of demonstrations.' if one_draw else ''}"
    )


def _table(methods: Sequence[Sequence[Row]], *, scale: exhibits.Scale) -> exhibits.Grid:
    cells = [{**row, "down": down} for down, members in enumerate(methods) for row in members]
    n_broken = sum(row["first_below"] is not None for row in cells)
    drawn = Heat(
        "last_not_below",
        down=("down", {down: _name(members[0]) for down, members in enumerate(methods)}),
        across=("language", exhibits.english_first(row["language"] for row in cells)),
        text=interval_text,
        title="between which sparsities accuracy falls below dense",
        about=f"Breaking sparsity by method and language, {n_broken} of {len(cells)} curves fall below dense",
        scale=scale,
        axes=("method", "language"),
    )
    facets = tuple(labels.facets_of(members[0], only=("score", "pair")) for members in methods)
    return drawn.grid(cells, row_facets=facets)


def _name(row: Row) -> str:
    return f"{row['method']} ({row['n_variants']} variants)" if row["n_variants"] > 1 else str(row["method"])


def interval_text(row: Row) -> str:
    """Return the interval as text: `0.2–0.3`, `≤ 0.1` if the smallest sparsity is below, `> 0.6` if none is."""
    last, first = row["last_not_below"], row["first_below"]
    if first is None:
        return f"> {last:g}"
    text = f"{last:g}–{first:g}" if last else f"≤ {first:g}"
    return f"{text}†" if row["n_not_below_after"] else text


def source_heat_maps(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw heat maps for each task and sparsity: one per method, a row per source, a column per evaluated language.

    All heat maps of a sparsity share a colour scale.

    Args:
        rows: result of `sources_by_language.sql`.
    """
    for title, members in by_task(rows):
        sparsities = exhibits.grouped(sorted(members, key=lambda row: row["sparsity"]), "sparsity")
        shown, note = exhibits.some(sparsities, MAX_SPARSITIES, "sparsities")
        for (sparsity,), cells in shown:
            yield _sparsity_group(cells, title=f"{title}, sparsity {sparsity:g}{note}")


def _sparsity_group(rows: Sequence[Row], *, title: str) -> exhibits.Group:
    methods = [cells for _, cells in exhibits.grouped(rows, *METHOD)]
    shown, note = exhibits.some(methods, MAX_SOURCE_METHODS, "methods")
    scale = exhibits.Scale.around_zero((row["difference"] for cells in shown for row in cells), least=SMALLEST_RANGE)
    return exhibits.Group(
        title=title + note,
        panels=tuple(_heat_map(cells, scale=scale) for cells in shown),
        rows=rows,
        legend=(change_legend(scale),),
        note=_source_note(rows),
    )


def _source_note(rows: Sequence[Row]) -> str:
    """Return how many cells are significant, what could have been found, and whether there is one seed."""
    found = [row["detectable_difference"] for row in rows if row["detectable_difference"] is not None]
    power = _power_note(labels.number(max(found))) if found else ""
    draws = "" if any(row["n_variants"] > 1 for row in rows) else " All are conditional on one draw of demonstrations."
    n_better, n_worse = (sum(_is_marked(row, column) for row in rows) for column in ("n_better", "n_worse"))
    return (
        f"Of {len(rows)} cells {n_better} are significantly better than dense and {n_worse} significantly worse."
        f"{power}{draws}"
    )


def _is_marked(row: Row, column: str) -> bool:
    """Whether all variants of a cell differ significantly from dense, in one direction."""
    return bool(row[column] == row["n_variants"])


def _heat_map(rows: Sequence[Row], *, scale: exhibits.Scale) -> exhibits.Grid:
    sources = exhibits.evenly_spaced(
        exhibits.english_first(str(row["demonstration_label"]) for row in rows), MAX_SOURCES
    )
    title = method_label(rows[0])
    facets = {row["demonstration_label"]: labels.facets_of(row, only=("pair",)) for row in rows}
    drawn = Heat(
        "difference",
        down=("demonstration_label", sources),
        across=("language", exhibits.english_first(row["language"] for row in rows)),
        text=_cell_text,
        title=title,
        about=f"Difference of accuracy to dense by source and evaluated language, {title}",
        scale=scale,
        axes=("source", "evaluated"),
    )
    row_facets = tuple(facets[source] for source in sources)
    return drawn.grid(rows, labels.facets_of(rows[0], only=("score",)), row_facets=row_facets)


def _cell_text(row: Row) -> str:
    mark = "*" if _is_marked(row, "n_better") or _is_marked(row, "n_worse") else ""
    return labels.number(row["difference"], signed=True, digits=3) + mark


def pooled_panels(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one panel per variant: each language's difference alone and pooled, their mean, and a further language.

    Args:
        rows: result of `pooled_languages.sql`.
    """
    for title, members in by_task(rows):
        variants = [cells for _, cells in exhibits.grouped(members, "comparison_id")]
        shown, note = exhibits.some(variants, MAX_POOLED, "variants")
        yield exhibits.Group(
            title=title + note,
            panels=tuple(map(_pooled_panel, shown)),
            rows=members,
            legend=legend_of(_ESTIMATES),
            note="Exploratory: the model assumes that the languages are drawn from one normal distribution.",
        )


def _pooled_panel(rows: Sequence[Row]) -> exhibits.Panel:
    first = rows[0]
    shown, note = exhibits.some(rows, MAX_POOLED_LANGUAGES, "languages")
    of_model = [
        {"language": name, "difference": None, "pooled": value}
        | {f"pooled_ci_{end}": first[f"{prefix}_ci_{end}"] for end in ("low", "high")}
        for name, value, prefix in (("mean", first["mean"], "mean"), ("a further language", None, "new_language"))
    ]
    return Dots(
        lambda row: str(row["language"]),
        _ESTIMATES,
        title=f"{first['label']}{note}",
        about=f"Difference of accuracy to dense alone and pooled, exploratory, {first['label']}",
        xlabel="accuracy − dense",
    ).panel([*shown, *of_model], labels.facets_of(first, only=("score", "pair")))
