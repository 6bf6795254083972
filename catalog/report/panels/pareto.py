"""English accuracy and the mean of the other languages: one point per variant, with the Pareto front."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, grouped, has_several_rules
from catalog.report.drawing.svg import INK, QUIET
from catalog.report.filters import facets_of, to_id
from catalog.report.labels import number, task_label
from catalog.report.style import BLACK, series_style
from catalog.results import Row

_TASK = ("task", "split", "scoring_rule", "example_limit")
_EVALUATED = (*_TASK, "languages")
_KEY = ("score", "intervention", "set_kind")
"""Columns that the points of one legend entry share."""


def pareto_plots(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one figure per pruned model and task, with one panel per set of languages. Dense models are stars.

    Args:
        rows: result of `pareto.sql`.
    """
    evaluated = dict(grouped(rows, *_EVALUATED))
    groups = []
    for (_, *task), members in grouped((row for row in rows if not row["is_dense"]), "base_model_id", *_TASK):
        dense = {
            languages: [row for row in evaluated[(*task, languages)] if row["is_dense"]]
            for (languages,), _ in grouped(members, "languages")
        }
        panels = tuple(_plot(points, dense=dense[languages]) for (languages,), points in grouped(members, "languages"))
        drawn = [*(row for rows_of in dense.values() for row in rows_of), *members]
        title = task_label(members[0], with_rule=has_several_rules(rows, members[0]))
        facets = facets_of(members[0], only=("model", "task"))
        groups.append(Group(title=title, panels=panels, rows=drawn, legend=_legend(members), facets=facets))
    return tuple(groups)


def _plot(rows: Sequence[Row], *, dense: Sequence[Row]) -> Panel:
    best = max(rows, key=lambda row: (row["others_value"], row["english_value"]))
    label = (
        f"English accuracy against the mean of {best['n_others']} other languages, {len(rows)} variants; "
        f"best outside English: {_values(best)}"
        + "".join(f"; {row['base_model']} dense: {_values(row)}" for row in dense)
    )
    return Panel(label=label, size=Size(5.2, 3.9, left=0.6, bottom=0.5), draw=partial(_draw, rows=rows, dense=dense))


def _values(row: Row) -> str:
    return f"{number(row['english_value'])} and {number(row['others_value'])}"


def _draw(axes: Axes, *, rows: Sequence[Row], dense: Sequence[Row]) -> None:
    others = [language for language in str(rows[0]["languages"]).split() if language != "en"]
    axes.set_title(f"others: {' '.join(others)}", color=INK, weight="bold", fontsize=9)
    axes.grid(visible=True)
    axes.set_xlabel("accuracy in English")
    axes.set_ylabel("mean accuracy in the other languages")
    dense_of_model = [row for row in dense if row["base_model_id"] == rows[0]["base_model_id"]]
    front = sorted(
        (row["english_value"], row["others_value"]) for row in (*rows, *dense_of_model) if row["is_efficient"]
    )
    axes.step([english for english, _ in front], [others for _, others in front], color=QUIET, linewidth=1.0, zorder=2)
    keys = [key for key, _ in grouped(rows, *_KEY)]
    for (*key, _), points in grouped(rows, *_KEY, "demonstration_label"):
        _draw_points(axes, points, key=keys.index(tuple(key)))
    for row in dense_of_model:
        axes.axvline(row["english_value"], color=BLACK, linewidth=0.8, linestyle=":", zorder=1)
        axes.axhline(row["others_value"], color=BLACK, linewidth=0.8, linestyle=":", zorder=1)
    for row in dense:
        at = (row["english_value"], row["others_value"])
        axes.plot(*at, "*", color=BLACK if row in dense_of_model else QUIET, markersize=12, zorder=4)
        if row not in dense_of_model:
            axes.text(*at, f"  {row['base_model']}", fontsize=7.5, color=QUIET, va="center")


def _draw_points(axes: Axes, rows: Sequence[Row], *, key: int) -> None:
    first = rows[0]
    style = series_style(first["score"], first["set_kind"])
    axes.plot(
        [row["english_value"] for row in rows],
        [row["others_value"] for row in rows],
        linestyle="",
        **style.marker_options | ({"markerfacecolor": "none"} if style.is_hollow else {}),
        markersize=5,
        alpha=0.85,
        zorder=3,
        gid=to_id({**facets_of(first, only=("score", "pair")), "key": str(key)}),
    )


def _legend(rows: Sequence[Row]) -> tuple[LegendEntry, ...]:
    entries = [LegendEntry(label="dense model", colour=BLACK, marker="*", line=False)]
    for index, ((score, intervention, set_kind), members) in enumerate(grouped(rows, *_KEY)):
        label = " on ".join(word for word in (intervention or score, set_kind) if word)
        style = series_style(score, set_kind)
        facets = {**facets_of(members[0], only=("score",)), "key": str(index)}
        entries.append(LegendEntry.of_series(label.replace("_", " "), style, line=False, facets=facets))
    return (*entries, LegendEntry(label="front: no variant is better in both", colour=QUIET))
