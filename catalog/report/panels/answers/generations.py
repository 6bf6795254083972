"""Texts that models generated: source, reference, and the outputs of the dense model and of variants side by side."""

from collections.abc import Sequence

from catalog.report.drawing.examples import SideBySide, TextCell
from catalog.report.drawing.exhibits import Group, grouped, has_several_rules
from catalog.report.filters import facets_of
from catalog.report.labels import task_label
from catalog.results import Row
from mlprune.counted import counted

MAX_LANGUAGES = 30
"""Maximum number of languages or pairs of a task, the first ones; the query limits the items of each."""
MAX_LENGTH = 1_000
"""Maximum number of characters of a text."""


def generation_tables(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Return one group per base model, task and scoring rule, with a table of texts for each language or pair.

    Args:
        rows: result of `generations.sql`.
    """
    groups = []
    for _, members in grouped(rows, "base_model_id", "task", "split", "scoring_rule"):
        languages = grouped(members, "language")
        shown = languages[:MAX_LANGUAGES]
        note = "" if len(shown) == len(languages) else f", {len(shown)} of {len(languages)} languages shown"
        title = task_label({**members[0], "example_limit": None}, with_rule=has_several_rules(rows, members[0]))
        groups.append(
            Group(
                title=f"{title}{note}",
                panels=(),
                rows=members,
                facets=facets_of(members[0], only=("model", "task")),
                texts=tuple(_table(language, cells) for (language,), cells in shown),
            )
        )
    return tuple(groups)


def _table(language: str, rows: Sequence[Row]) -> SideBySide:
    first = rows[0]
    source, target = _languages(language)
    variants = [name for name in ("first", "second") if first[f"{name}_label"] is not None]
    columns = ["item", "source", "reference", "dense", *(str(first[f"{name}_label"]) for name in variants)]
    n_drawn = sum(bool(row["is_drawn"]) for row in rows)
    others = f", {len(rows) - n_drawn} that moved furthest from the reference" if len(rows) > n_drawn else ""
    return SideBySide(
        title=f"{language}: {first['n_changed']} of {first['n_items']} outputs of {first['first_label']} differ from "
        f"dense; {counted(n_drawn, 'item')} drawn at random{others}",
        columns=tuple(columns),
        rows=tuple(_cells(row, variants, source=source, target=target) for row in rows),
    )


def _cells(row: Row, variants: Sequence[str], *, source: str, target: str) -> tuple[TextCell, ...]:
    """Return the item, its source and reference, and the outputs."""
    why = "" if row["is_drawn"] else "moved furthest"
    name = " · ".join(str(part) for part in (row["example_id"], row["category"], why) if part)
    dense = row["dense_output"]
    outputs = [row[f"{variant}_output"] for variant in variants]
    return (
        TextCell(name),
        TextCell(_short(row["source"]), source),
        TextCell(_short(row["reference"]), target),
        TextCell(_short(dense), target),
        *(TextCell(_short(output), target, is_same=output == dense) for output in outputs),
    )


def _languages(language: str) -> tuple[str, str]:
    """Return the languages of a source and its output: those of a pair such as fr-en, or the same one twice."""
    source, dash, target = language.partition("-")
    return (source, target) if dash else (language, language)


def _short(text: str | None) -> str:
    """Return a text of at most `MAX_LENGTH` characters in one line, empty for NULL."""
    text = " ".join((text or "").split())
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"
