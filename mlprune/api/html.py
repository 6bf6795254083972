"""HTML views of objects in a notebook. Every text is escaped, and there is no script and no style sheet."""

from collections.abc import Sequence
from html import escape

MAX_TEXT = 200
"""Characters of a value that a notebook shows."""
DIGITS = 4
"""Significant digits of a number."""


def table_html(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, n_rows: int, notes: Sequence[str] = ()
) -> str:
    """Return a table, the number of its rows, and notes.

    Args:
        rows: the rows that are shown.
        n_rows: number of all rows.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    shown = f"{len(rows)} of {n_rows:,} rows" if len(rows) < n_rows else f"{n_rows:,} row{'s' if n_rows != 1 else ''}"
    lines = "".join(f"<p>{escape(_visible(note))}</p>" for note in (shown, *notes))
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{lines}</div>"


def facts_html(title: str, facts: Sequence[tuple[str, object]]) -> str:
    """Return a title and a table of names with values; empty values are left out."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{_cell(value)}</tr>" for name, value in facts if value not in (None, "")
    )
    return f"<div><strong>{escape(_visible(title))}</strong><table><tbody>{rows}</tbody></table></div>"


def _cell(value: object) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, float):
        return f'<td style="text-align:right">{value:.{DIGITS}g}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="text-align:right">{value}</td>'
    text = str(value)
    shown = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
    return f"<td>{escape(_visible(shown))}</td>"


def _visible(text: str) -> str:
    from catalog.visible_text import visible  # noqa: PLC0415 - the interface loads the catalog only when it is used

    return visible(text)
