"""Figures of answers: accuracy by category, flipped items, and generated texts."""

from collections.abc import Iterator, Sequence

import numpy as np

from catalog.report import exhibits
from catalog.report.labels import number, task_label
from catalog.report.marks import Dots, Mark, legend_of
from catalog.report.styles import BLUE, GREY, SeriesStyle
from catalog.results import Row
from mlprune.counted import counted
from mlprune.numeric.statistics.clusters import Interval
from mlprune.numeric.statistics.proportions import effective_size, wilson_interval

MAX_LANGUAGES, MAX_CATEGORIES = 12, 16
"""Maximum number of panels of a variant, at even distances, and of rows of a panel, those with most items."""
_SIDES = (
    Mark("dense model", "dense", SeriesStyle(GREY, "s"), ends="dense"),
    Mark("variant", "variant", SeriesStyle(BLUE, "o"), ends="variant"),
)
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
    for title, members in _by_variant(rows, "label"):
        by_language = dict(exhibits.grouped(members, "language"))
        languages = exhibits.english_first(row["language"] for row in members)
        shown, note = exhibits.some([by_language[language,] for language in languages], MAX_LANGUAGES, "languages")
        yield exhibits.Group(
            title=f"{title}, {members[0]['label']}{note}",
            panels=tuple(_panel(cells) for cells in shown),
            rows=members,
            legend=legend_of(_SIDES),
        )


def _by_variant(rows: Sequence[Row], *more: str) -> Iterator[tuple[str, list[Row]]]:
    """Yield the heading and the rows of each model, task and way of evaluating, and of further columns."""
    for _, members in exhibits.grouped(rows, "base_model_id", *more, "task", "split", "scoring_rule"):
        with_rule = exhibits.has_several_rules(rows, members[0])
        yield task_label({**members[0], "example_limit": None}, with_rule=with_rule), members


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
    note = exhibits.omission_note(min(MAX_CATEGORIES, len(rows)), len(rows), "categories")
    return Dots(
        lambda row: f"{row['category']} (n = {row['n']:,})",
        _SIDES,
        title=f"{rows[0]['language']}{note}",
        about=f"Accuracy in {rows[0]['language']} by category, dense and variant{note}",
        zero=None,
        is_signed=False,
        aside=lambda row: f"+{row['n_gained']} −{row['n_lost']}",
        finish=lambda axes: axes.set_xlim(-0.01, 1.01),
    ).panel([{**row, **_shares(row)} for row in rows[:MAX_CATEGORIES]])


def _shares(row: Row) -> Row:
    """Return the accuracies of the dense model and of the variant with their intervals."""
    shares: dict[str, float] = {}
    for name, prefix in (("dense", "dense_"), ("variant", "")):
        interval = accuracy_interval(row, f"n_{prefix}right", f"{prefix}cluster_rights")
        shares |= {name: row[f"n_{prefix}right"] / row["n"], f"{name}_low": interval.low, f"{name}_high": interval.high}
    return shares


def flipped_examples(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Return one group per variant and scoring rule, with a list of examples for each language.

    Args:
        rows: result of `flipped_answers.sql`.
    """
    for title, members in _by_variant(rows, "label"):
        languages = exhibits.grouped(members, "language")
        shown = languages[:MAX_FLIPPED_LANGUAGES]
        note = "" if len(shown) == len(languages) else f", {len(shown)} of {len(languages)} languages shown"
        yield exhibits.Group(
            title=f"{title}, {members[0]['label']}{note}",
            panels=(),
            rows=members,
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
    for title, members in _by_variant(rows):
        languages = exhibits.grouped(members, "language")
        shown = languages[:MAX_GENERATED_LANGUAGES]
        note = "" if len(shown) == len(languages) else f", {len(shown)} of {len(languages)} languages shown"
        yield exhibits.Group(
            title=f"{title}{note}",
            panels=(),
            rows=members,
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
