"""Figures of answers: accuracy by category, flipped items, and generated texts."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from catalog.report import exhibits
from catalog.report.labels import BLUE, GREY, facets_of, number, task_label
from catalog.report.svg import QUIET, interval_row, start_rows
from catalog.results import Row
from mlprune.counted import counted
from mlprune.numeric.statistics.clusters import Interval
from mlprune.numeric.statistics.proportions import effective_size, wilson_interval

MAX_LANGUAGES, MAX_CATEGORIES = 12, 16
"""Maximum number of panels of a variant, at even distances, and of rows of a panel, those with most items."""
_SIDES = ((-0.16, "n_dense_right", "dense_cluster_rights", GREY), (0.16, "n_right", "cluster_rights", BLUE))
"""Shift of a point, its columns and its colour: the dense model, then the variant."""
MAX_FLIPPED_LANGUAGES = 30
"""Maximum number of languages of a variant, the first ones; the query limits the examples of each."""
MAX_LENGTH = 400
"""Maximum number of characters of a text."""
MAX_GENERATED_LANGUAGES = 30
"""Maximum number of languages or pairs of a task, the first ones; the query limits the items of each."""
MAX_TEXT_LENGTH = 1_000
"""Maximum number of characters of a text."""


def category_panels(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw the accuracy of a variant and the dense model by category; one panel per language.

    Args:
        rows: result of `category_answers.sql`.
    """
    legend = (
        exhibits.LegendEntry("dense model", GREY, marker="o", line=False),
        exhibits.LegendEntry("variant", BLUE, marker="o", line=False),
    )
    for _, members in exhibits.grouped(rows, "base_model_id", "label", "task", "split", "scoring_rule"):
        by_language = dict(exhibits.grouped(members, "language"))
        languages = [by_language[language,] for language in exhibits.english_first(row["language"] for row in members)]
        shown = exhibits.evenly_spaced(languages, MAX_LANGUAGES)
        title = task_label(
            {**members[0], "example_limit": None}, with_rule=exhibits.has_several_rules(rows, members[0])
        )
        yield exhibits.Group(
            title=f"{title}, {members[0]['label']}" + exhibits.omission_note(len(shown), len(languages), "languages"),
            panels=tuple(_panel(cells) for cells in shown),
            rows=members,
            legend=legend,
            facets=facets_of(members[0], only=("model", "task", "score")),
        )


def accuracy_interval(row: Row, n_right: str, rights: str) -> Interval:
    """Return Wilson's interval of an accuracy; items of one cluster depend on each other (`effective_size`).

    Args:
        n_right: column with the number of right items.
        rights: column with the number of right items by cluster.
    """
    n = effective = float(row["n"])
    if row["cluster_sizes"] is not None:
        codes = np.repeat(np.arange(row["n_clusters"]), row["cluster_sizes"])
        credit = [
            float(place < right)
            for size, right in zip(row["cluster_sizes"], row[rights], strict=True)
            for place in range(size)
        ]
        effective = effective_size(np.array(credit), codes)
    return wilson_interval(row[n_right] / n * effective, effective)


def _panel(rows: Sequence[Row]) -> exhibits.Panel:
    shown = rows[:MAX_CATEGORIES]
    texts = ", ".join(
        f"{row['category']} {number(row['n_dense_right'] / row['n'])}, {number(row['n_right'] / row['n'])}"
        for row in shown
    )
    note = exhibits.omission_note(len(shown), len(rows), "categories")
    width = 0.075 * max(len(_name(row)) for row in shown)
    return exhibits.Panel(
        label=f"Accuracy in {rows[0]['language']} by category, dense and variant: {texts}{note}",
        size=exhibits.Size(2.6 + width, 0.72 + 0.27 * len(shown), left=0.2 + width, right=0.55, bottom=0.36),
        draw=partial(_draw, rows=shown, title=f"{rows[0]['language']}{note}"),
    )


def _name(row: Row) -> str:
    return f"{row['category']} (n = {row['n']:,})"


def _draw(axes: Axes, *, rows: Sequence[Row], title: str) -> None:
    start_rows(axes, title, [_name(row) for row in rows], edge=0.6)
    for position, row in enumerate(rows):
        for shift, n_right, rights, colour in _SIDES:
            interval, share = accuracy_interval(row, n_right, rights), row[n_right] / row["n"]
            ends = interval.low, interval.high
            interval_row(axes, position + shift, share, ends, colour=colour, markersize=3.5)
        axes.text(1.03, position, f"+{row['n_gained']} −{row['n_lost']}", va="center", fontsize=7.5, color=QUIET)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])


def flipped_examples(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Return one group per variant and scoring rule, with a list of examples for each language.

    Args:
        rows: result of `flipped_answers.sql`.
    """
    for _, members in exhibits.grouped(rows, "base_model_id", "label", "task", "split", "scoring_rule"):
        languages = exhibits.grouped(members, "language")
        shown = languages[:MAX_FLIPPED_LANGUAGES]
        note = "" if len(shown) == len(languages) else f", {len(shown)} of {len(languages)} languages shown"
        title = task_label(
            {**members[0], "example_limit": None}, with_rule=exhibits.has_several_rules(rows, members[0])
        )
        yield exhibits.Group(
            title=f"{title}, {members[0]['label']}{note}",
            panels=(),
            rows=members,
            facets=facets_of(members[0], only=("model", "task", "score")),
            examples=tuple(_list(language, cells) for (language,), cells in shown),
        )


def _list(language: str, rows: Sequence[Row]) -> exhibits.ExampleList:
    totals = {change: cells[0]["n_flipped"] for (change,), cells in exhibits.grouped(rows, "change")}
    n_all = sum(totals.values())
    counts = f"{totals.get('gained', 0)} gained, {totals.get('lost', 0)} lost"
    shown = "" if len(rows) == n_all else f"; the {len(rows)} with the largest changes of the margin are shown"
    has_english = "en" not in exhibits.distinct(rows, "language")
    return exhibits.ExampleList(
        title=f"{language}: {counts}{shown}",
        language=language,
        examples=tuple(_example(row, has_english=has_english) for row in rows),
    )


def _example(row: Row, *, has_english: bool) -> exhibits.Example:
    margins = f"{number(row['dense_margin'], signed=True)} → {number(row['margin'], signed=True)}"
    return exhibits.Example(
        change=row["change"],
        name=" · ".join(str(part) for part in (row["example_id"], row["category"]) if part),
        question=_short(row["question"]),
        english=_short(row["english_question"]) if has_english else "",
        gold=_short(row["gold"]),
        before=_short(row["dense_chosen"]),
        after=_short(row["chosen"]),
        margins=margins,
    )


def _short(text: str | None, limit: int = MAX_LENGTH) -> str:
    """Return a text of at most `limit` characters in one line, empty for NULL."""
    text = " ".join((text or "").split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def generation_tables(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Return one group per base model, task and scoring rule, with a table of texts for each language or pair.

    Args:
        rows: result of `generations.sql`.
    """
    for _, members in exhibits.grouped(rows, "base_model_id", "task", "split", "scoring_rule"):
        languages = exhibits.grouped(members, "language")
        shown = languages[:MAX_GENERATED_LANGUAGES]
        note = "" if len(shown) == len(languages) else f", {len(shown)} of {len(languages)} languages shown"
        title = task_label(
            {**members[0], "example_limit": None}, with_rule=exhibits.has_several_rules(rows, members[0])
        )
        yield exhibits.Group(
            title=f"{title}{note}",
            panels=(),
            rows=members,
            facets=facets_of(members[0], only=("model", "task")),
            texts=tuple(_table(language, cells) for (language,), cells in shown),
        )


def _table(language: str, rows: Sequence[Row]) -> exhibits.SideBySide:
    first = rows[0]
    source, _, target = language.partition("-")
    variants = [name for name in ("first", "second") if first[f"{name}_label"] is not None]
    columns = ["item", "source", "reference", "dense", *(str(first[f"{name}_label"]) for name in variants)]
    n_drawn = sum(bool(row["is_drawn"]) for row in rows)
    others = f", {len(rows) - n_drawn} that moved furthest from the reference" if len(rows) > n_drawn else ""
    return exhibits.SideBySide(
        title=f"{language}: {first['n_changed']} of {first['n_items']} outputs of {first['first_label']} differ from "
        f"dense; {counted(n_drawn, 'item')} drawn at random{others}",
        columns=tuple(columns),
        rows=tuple(_cells(row, variants, source=source, target=target or source) for row in rows),
    )


def _cells(row: Row, variants: Sequence[str], *, source: str, target: str) -> tuple[exhibits.TextCell, ...]:
    """Return the item, its source and reference, and the outputs."""
    why = "" if row["is_drawn"] else "moved furthest"
    name = " · ".join(str(part) for part in (row["example_id"], row["category"], why) if part)
    dense = row["dense_output"]
    outputs = [row[f"{variant}_output"] for variant in variants]
    return (
        exhibits.TextCell(name),
        exhibits.TextCell(_short(row["source"], MAX_TEXT_LENGTH), source),
        exhibits.TextCell(_short(row["reference"], MAX_TEXT_LENGTH), target),
        exhibits.TextCell(_short(dense, MAX_TEXT_LENGTH), target),
        *(exhibits.TextCell(_short(output, MAX_TEXT_LENGTH), target, is_same=output == dense) for output in outputs),
    )
