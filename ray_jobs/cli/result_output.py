"""Texts of commands in the width of the output: results of queries, and reports such as a plan."""

import os
import shutil
import sys
from typing import TYPE_CHECKING

import typer

from catalog.visible_text import visible

if TYPE_CHECKING:
    from catalog.results import QueryResult
    from catalog.store import Catalog

WIDTH = 80
"""Cells of a line if the output does not go to a terminal and COLUMNS is not set."""


def screen_width() -> int:
    """Return the cells of a line: those of COLUMNS, else those of the terminal, else 80."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size((WIDTH, 24)).columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) > 0 else WIDTH


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write text for people or programs, with characters escaped that a terminal would interpret.

    Everything that a command writes goes through this function: names come from recipes, paths and records of others.
    """
    typer.echo(visible(text), err=err, nl=nl)


def format_result(
    catalog: "Catalog",
    result: "QueryResult",
    *,
    format_name: str,
    may_omit: bool = True,
    is_wide: bool = False,
    digits: int | None = None,
) -> str:
    """Format a result as `table`, `json` or `csv`; a table fits the terminal unless it is wide.

    Args:
        may_omit: whether columns may be left out of rows that do not fit.
    Raises:
        QueryError: there is no such format.
    """
    from catalog.ids import short_id_length  # noqa: PLC0415 - commands import lazily
    from catalog.queries import render  # noqa: PLC0415
    from catalog.terminal import SHORT_ID, TableOptions  # noqa: PLC0415

    shows_short_ids = format_name == "table" and not is_wide
    id_length = short_id_length(catalog, result) if shows_short_ids else SHORT_ID
    options = TableOptions(screen_width(), is_wide=is_wide, may_omit=may_omit, digits=digits, id_length=id_length)
    return render(result, format_name, options=options)


def format_text(text: str) -> str:
    """Fold lines to the width of the output, and escape characters that a terminal would interpret."""
    from catalog.terminal import format_text as folded_text  # noqa: PLC0415 - commands import lazily

    return folded_text(text, width=screen_width())


def format_report(text: str) -> str:
    """Fold the lines of a report if they go to a terminal; programs get one line per fact, of any length."""
    return format_text(text) if sys.stdout.isatty() else visible(text)
