"""Figures of languages: English against the others, where accuracy breaks, source languages, and pooled differences."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes

from catalog.report import exhibits, labels
from catalog.report.panels.differences import METHOD, by_task, change_legend
from catalog.report.svg import INK, QUIET, heat, interval_row, start, start_rows
from catalog.results import Row

_TASK = ("task", "split", "scoring_rule", "example_limit")
_EVALUATED = (*_TASK, "languages")
_KEY = ("score", "intervention", "set_kind")
"""Columns that the points of one legend entry share."""
MAX_POINTS, MAX_FRONT = 1_000, 50
"""Maximum number of points, and of those on the front, in a panel, chosen at even distances."""
_DENSE = labels.SeriesStyle(labels.BLACK, "*")
Styles = Mapping[tuple[Any, ...], labels.SeriesStyle]
"""Values of `_KEY` -> style."""
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
_ALONE, _POOLED = (-0.17, labels.GREY), (0.17, labels.BLUE)
"""Shift and colour of the estimate of a language alone, and of the pooled one."""
_OF_MODEL = ("mean", "a further language")
"""Names of the last rows of a panel."""


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
        plain = {method: labels.series_style(method[0], method[2]) for method, _ in exhibits.grouped(members, *_KEY)}
        styles = labels.distinct_styles(plain, taken=[_DENSE])
        panels = tuple(
            _plot(points, dense=dense[languages], styles=styles)
            for (languages,), points in exhibits.grouped(members, "languages")
        )
        drawn = [*(row for rows_of in dense.values() for row in rows_of), *members]
        title = labels.task_label(members[0], with_rule=exhibits.has_several_rules(rows, members[0]))
        facets = labels.facets_of(members[0], only=("model", "task"))
        yield exhibits.Group(title=title, panels=panels, rows=drawn, legend=_legend(members, styles), facets=facets)


def _plot(rows: Sequence[Row], *, dense: Sequence[Row], styles: Styles) -> exhibits.Panel:
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


def _draw(axes: Axes, *, rows: Sequence[Row], dense: Sequence[Row], title: str, styles: Styles) -> None:
    start(axes, title, grid="both")
    axes.set_xlabel("change of accuracy in English")
    axes.set_ylabel("change of mean accuracy in the other languages")
    axes.axvline(0, color=labels.BLACK, linewidth=0.8, linestyle=":", zorder=1)
    axes.axhline(0, color=labels.BLACK, linewidth=0.8, linestyle=":", zorder=1)
    own = [row for row in dense if row["base_model_id"] == rows[0]["base_model_id"]]
    for (*method, _), points in exhibits.grouped(rows, *_KEY, "demonstration_label"):
        key = list(styles).index(tuple(method))
        _draw_points(axes, points, styles[tuple(method)], dense=own, key=key)
    for row in dense:
        at = _point(row, own)
        axes.plot(*at, "*", color=labels.BLACK if row in own else QUIET, markersize=12, zorder=4)
        if row not in own:
            axes.text(*at, f"  {row['base_model']}", fontsize=7.5, color=QUIET, va="center")
        elif row["is_efficient"]:
            axes.annotate(_probability(row), at, (6, -9), textcoords="offset points", fontsize=7.5, color=INK)


def _draw_points(axes: Axes, rows: Sequence[Row], style: labels.SeriesStyle, *, dense: Sequence[Row], key: int) -> None:
    """Draw the variants of one score and pair: those on the front of dev with intervals, the others pale."""
    first = rows[0]
    options = style.marker_options | ({"markerfacecolor": "none"} if style.is_hollow else {})
    gid = labels.to_id({**labels.facets_of(first, only=("score", "pair")), "key": str(key)})
    beaten = [_point(row, dense) for row in rows if not row["is_efficient"]]
    places = [[point[side] for point in beaten] for side in (0, 1)]
    axes.plot(*places, linestyle="", **options, markersize=4, alpha=0.45, zorder=2, gid=gid)
    for row in (row for row in rows if row["is_efficient"]):
        at = _point(row, dense)
        for xs, ys in _intervals(row, at):
            axes.plot(xs, ys, color=style.colour, linewidth=1.0, zorder=3, gid=gid)
        axes.plot(*at, linestyle="", **options, markersize=7, zorder=4, gid=gid)
        text = f"{row['sparsity']:g}, {_probability(row)}"
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


def _legend(rows: Sequence[Row], styles: Styles) -> tuple[exhibits.LegendEntry, ...]:
    entries = [exhibits.LegendEntry.of_series("dense model", _DENSE, line=False)]
    for index, (method, members) in enumerate(exhibits.grouped(rows, *_KEY)):
        score, intervention, set_kind = method
        label = " on ".join(str(word) for word in (intervention or score, set_kind) if word)
        facets = {**labels.facets_of(members[0], only=("score",)), "key": str(index)}
        entries.append(
            exhibits.LegendEntry.of_series(label.replace("_", " "), styles[method], line=False, facets=facets)
        )
    return (
        *entries,
        exhibits.LegendEntry(label="large, with lines: on the front of dev (sparsity, probability)", colour=QUIET),
    )


def breaking_tables(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one table per model and task, with a row per method and a column per language.

    A cell is the interval that contains the breaking sparsity; its colour is the lower end.

    Args:
        rows: result of `breaking_sparsity.sql`.
    """
    for title, members in by_task(rows):
        methods = [cells for _, cells in exhibits.grouped(members, *_METHOD)]
        shown = exhibits.evenly_spaced(methods, MAX_METHODS)
        scale = exhibits.Scale(0.0, max(row["last_not_below"] for row in members) or 1.0)
        yield exhibits.Group(
            title=title + exhibits.omission_note(len(shown), len(methods), "methods"),
            panels=(_table(shown, languages=exhibits.english_first(row["language"] for row in members), scale=scale),),
            rows=members,
            legend=(exhibits.LegendEntry(f"0|{scale.high:g}: largest sparsity that is not below dense", scale=scale),),
            facets=labels.facets_of(members[0], only=("model", "task")),
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


def _table(methods: Sequence[Sequence[Row]], *, languages: Sequence[str], scale: exhibits.Scale) -> exhibits.Grid:
    cells = {(down, languages.index(row["language"])): row for down, members in enumerate(methods) for row in members}
    n_broken = sum(row["first_below"] is not None for row in cells.values())
    return exhibits.Grid(
        title="between which sparsities accuracy falls below dense",
        label=f"Breaking sparsity by method and language: {n_broken} of {len(cells)} curves fall below dense",
        rows=tuple(_name(members[0]) for members in methods),
        columns=tuple(languages),
        values={position: row["last_not_below"] for position, row in cells.items()},
        texts={position: interval_text(row) for position, row in cells.items()},
        scale=scale,
        row_name="method",
        column_name="language",
        row_facets=tuple(labels.facets_of(members[0], only=("score", "pair")) for members in methods),
    )


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
        shown = exhibits.evenly_spaced(sparsities, MAX_SPARSITIES)
        note = exhibits.omission_note(len(shown), len(sparsities), "sparsities")
        for (sparsity,), cells in shown:
            yield _sparsity_group(cells, title=f"{title}, sparsity {sparsity:g}{note}")


def _sparsity_group(rows: Sequence[Row], *, title: str) -> exhibits.Group:
    methods = [cells for _, cells in exhibits.grouped(rows, *METHOD)]
    shown = exhibits.evenly_spaced(methods, MAX_SOURCE_METHODS)
    largest = max(SMALLEST_RANGE, *(abs(row["difference"]) for cells in shown for row in cells))
    scale = exhibits.Scale(-largest, largest, is_diverging=True)
    return exhibits.Group(
        title=title + exhibits.omission_note(len(shown), len(methods), "methods"),
        panels=tuple(_heat_map(cells, scale=scale) for cells in shown),
        rows=rows,
        legend=(change_legend(scale),),
        facets=labels.facets_of(rows[0], only=("model", "task")),
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
    differences = [row["difference"] for row in rows if row["demonstration_label"] in sources]
    title = labels.method_label(rows[0])
    span = f"from {labels.number(min(differences), signed=True)} to {labels.number(max(differences), signed=True)}"
    facets = {row["demonstration_label"]: labels.facets_of(row, only=("pair",)) for row in rows}
    return heat(
        rows,
        "difference",
        down=("demonstration_label", sources),
        across=("language", exhibits.english_first(row["language"] for row in rows)),
        text=_cell_text,
        title=title,
        label=f"Difference of accuracy to dense by source and evaluated language, {title}: {span}",
        scale=scale,
        row_name="source",
        column_name="evaluated",
        facets=labels.facets_of(rows[0], only=("score",)),
        row_facets=tuple(facets[source] for source in sources),
    )


def _cell_text(row: Row) -> str:
    mark = "*" if _is_marked(row, "n_better") or _is_marked(row, "n_worse") else ""
    return labels.number(row["difference"], signed=True, digits=3) + mark


def pooled_panels(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one panel per variant: each language's difference alone and pooled, their mean, and a further language.

    Args:
        rows: result of `pooled_languages.sql`.
    """
    legend = (
        exhibits.LegendEntry("the language alone", _ALONE[1], marker="o", line=False),
        exhibits.LegendEntry("pooled over the languages", _POOLED[1], marker="D", line=False),
    )
    for title, members in by_task(rows):
        variants = [cells for _, cells in exhibits.grouped(members, "comparison_id")]
        shown = exhibits.evenly_spaced(variants, MAX_POOLED)
        yield exhibits.Group(
            title=title + exhibits.omission_note(len(shown), len(variants), "variants"),
            panels=tuple(map(_pooled_panel, shown)),
            rows=members,
            legend=legend,
            facets=labels.facets_of(members[0], only=("model", "task")),
            note="Exploratory: the model assumes that the languages are drawn from one normal distribution.",
        )


def _pooled_panel(rows: Sequence[Row]) -> exhibits.Panel:
    first, shown = rows[0], exhibits.evenly_spaced(rows, MAX_POOLED_LANGUAGES)
    note = exhibits.omission_note(len(shown), len(rows), "languages")
    values = ", ".join(
        f"{row['language']} {_estimate(row, 'difference', 'ci')}, pooled {_estimate(row, 'pooled', 'pooled_ci')}"
        for row in shown
    )
    mean, new = _estimate(first, "mean", "mean_ci"), (first["new_language_ci_low"], first["new_language_ci_high"])
    further = labels.text_range(*(labels.number(end, signed=True) for end in new))
    return exhibits.Panel(
        label=f"Difference of accuracy to dense alone and pooled, exploratory, {first['label']}: {values}; "
        f"mean {mean}, a further language {further}{note}",
        size=exhibits.Size(4.6, 0.9 + 0.3 * (len(shown) + len(_OF_MODEL)), left=1.35),
        draw=partial(_draw_pooled, rows=shown, title=f"{first['label']}{note}"),
        facets=labels.facets_of(first, only=("score", "pair")),
    )


def _estimate(row: Row, column: str, ends: str) -> str:
    return labels.with_interval(row[column], row[f"{ends}_low"], row[f"{ends}_high"], signed=True)


def _draw_pooled(axes: Axes, *, rows: Sequence[Row], title: str) -> None:
    start_rows(axes, title, [*(row["language"] for row in rows), *_OF_MODEL], edge=0.6)
    axes.set_xlabel("accuracy − dense")
    axes.axvline(0, color=labels.BLACK, linewidth=0.9)
    axes.axhline(len(rows) - 0.5, color=QUIET, linewidth=0.6)
    for position, row in enumerate(rows):
        for (shift, colour), marker, column, prefix in (
            (_ALONE, "o", "difference", "ci"),
            (_POOLED, "D", "pooled", "pooled_ci"),
        ):
            ends = row[f"{prefix}_low"], row[f"{prefix}_high"]
            interval_row(axes, position + shift, row[column], ends, colour=colour, marker=marker, markersize=3.5)
    first, colour = rows[0], _POOLED[1]
    for position, (value, name) in enumerate(((first["mean"], "mean"), (None, "new_language")), len(rows)):
        ends = first[f"{name}_ci_low"], first[f"{name}_ci_high"]
        interval_row(axes, position, value, ends, colour=colour, marker="D", markersize=3.5)
