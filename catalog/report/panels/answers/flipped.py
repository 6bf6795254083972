"""Items whose answers differ in rightness between a variant and the dense model, with their questions."""

from collections.abc import Sequence

from catalog.report.drawing.examples import Example, ExampleList
from catalog.report.drawing.exhibits import Group, distinct, grouped, has_several_rules
from catalog.report.filters import facets_of
from catalog.report.labels import number, task_label
from catalog.results import Row

MAX_LANGUAGES = 30
"""Maximum number of languages of a variant, the first ones; the query limits the examples of each."""
MAX_LENGTH = 400
"""Maximum number of characters of a text."""


def flipped_examples(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Return one group per variant and scoring rule, with a list of examples for each language.

    Args:
        rows: result of `flipped_answers.sql`.
    """
    groups = []
    for _, members in grouped(rows, "base_model_id", "label", "task", "split", "scoring_rule"):
        languages = grouped(members, "language")
        shown = languages[:MAX_LANGUAGES]
        note = "" if len(shown) == len(languages) else f", {len(shown)} of {len(languages)} languages shown"
        title = task_label({**members[0], "example_limit": None}, with_rule=has_several_rules(rows, members[0]))
        groups.append(
            Group(
                title=f"{title}, {members[0]['label']}{note}",
                panels=(),
                rows=members,
                facets=facets_of(members[0], only=("model", "task", "score")),
                examples=tuple(_list(language, cells) for (language,), cells in shown),
            )
        )
    return tuple(groups)


def _list(language: str, rows: Sequence[Row]) -> ExampleList:
    totals = {change: cells[0]["n_flipped"] for (change,), cells in grouped(rows, "change")}
    n_all = sum(totals.values())
    counts = f"{totals.get('gained', 0)} gained, {totals.get('lost', 0)} lost"
    shown = "" if len(rows) == n_all else f"; the {len(rows)} with the largest changes of the margin are shown"
    has_english = "en" not in distinct(rows, "language")
    return ExampleList(
        title=f"{language}: {counts}{shown}",
        language=language,
        examples=tuple(_example(row, has_english=has_english) for row in rows),
    )


def _example(row: Row, *, has_english: bool) -> Example:
    margins = f"{number(row['dense_margin'], signed=True)} → {number(row['margin'], signed=True)}"
    return Example(
        change=row["change"],
        name=" · ".join(str(part) for part in (row["example_id"], row["category"]) if part),
        question=_short(row["question"]),
        english=_short(row["english_question"]) if has_english else "",
        gold=_short(row["gold"]),
        before=_short(row["dense_chosen"]),
        after=_short(row["chosen"]),
        margins=margins,
    )


def _short(text: str | None) -> str:
    """Return a text of at most `MAX_LENGTH` characters, empty for NULL."""
    text = " ".join((text or "").split())
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"
