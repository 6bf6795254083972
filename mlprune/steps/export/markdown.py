"""Sections and tables of a Markdown document, from rows of catalog tables."""

from collections.abc import Iterable, Sequence

from mlprune.json_values import JsonObject


def section(title: str, body: str) -> tuple[str, ...]:
    """A heading and its body; nothing if the body is empty."""
    return (f"## {title}\n", body.rstrip("\n") + "\n") if body else ()


def rows_table(columns: Sequence[str], rows: Sequence[JsonObject]) -> str:
    """Some columns of catalog rows."""
    names = [name.replace("_", " ") for name in columns]
    return table(names, [[row.get(name) for name in columns] for row in rows]) if rows else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell(value) for value in line)} |" for line in lines)


def cell(value: object) -> str:
    """A value as a table cell. None is an empty cell; pipes are escaped and line breaks become spaces."""
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", r"\|").split())
