"""Sections and tables of a Markdown document, from rows of the catalog's tables. What they say is decided elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def section(title: str, body: str) -> tuple[str, ...]:
    """A heading and what stands below it, or nothing where that is empty."""
    return (f"## {title}\n", body.rstrip("\n") + "\n") if body else ()


def rows_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Some columns of catalog rows."""
    names = [name.replace("_", " ") for name in columns]
    return table(names, [[row.get(name) for name in columns] for row in rows]) if rows else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell(value) for value in line)} |" for line in lines)


def cell(value: Any) -> str:
    """A value in a table; None is an empty cell, and no text ends the cell or the line."""
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", r"\|").split())
