"""`mlprune methods`: list the methods that recipes can name."""

from dataclasses import replace
from textwrap import fill
from typing import Annotated

import typer

from catalog.results import QueryResult
from catalog.terminal import TableOptions
from catalog.terminal.result_table import render
from mlprune.errors import BadInputError, unknown
from mlprune.methods import overview
from mlprune.methods.plugins import provide_file
from ray_jobs.cli.known_words import complete_one_of
from ray_jobs.cli.options import AllowPluginsOption, FormatOption, WideOption, echo, screen_width

WIDTH = 100
"""Columns of the notes if the width of the screen is not known."""


def methods(
    name: Annotated[str | None, typer.Argument(help="Only the methods of this name, in full.")] = None,
    *,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Only one kind: score, structure, schedule, refiner or aggregation.",
            autocompletion=complete_one_of(*overview.KINDS),
        ),
    ] = None,
    load: Annotated[
        bool, typer.Option("--load", help="Import the installed plug-ins, to show more than their names.")
    ] = False,
    allow_plugins: AllowPluginsOption = None,
    format_: FormatOption = "table",
    wide: WideOption = False,
) -> None:
    """Show the methods of pruning, and which go together.

    A variant has a score, a structure, a schedule, and perhaps a refiner and an aggregation.

    A name or a kind shows the methods in full: formula, statistics that they need, cost and citation, built-in ones and
    plug-ins. Other formats than table have all methods in full.

    \b
    Examples:
      mlprune methods
      mlprune methods sparsegpt
      mlprune methods --kind score
      mlprune methods --load --format json
    """
    if kind is not None and kind not in overview.KINDS:
        raise unknown("kind of method", kind, overview.KINDS, error=BadInputError, option="--kind")
    for path in allow_plugins or []:
        provide_file(path)
    options = TableOptions(screen_width(), layout="wide" if wide else "fitting")
    if format_ == "table" and not (name or kind or load or allow_plugins):
        table = QueryResult(overview.COMBINATION_COLUMNS, tuple(row.values for row in overview.combinations()))
        echo(render(table, format_, options=options))
        for note in (*overview.COMBINATION_NOTES, "mlprune methods NAME describes a method, --kind score all scores."):
            echo(fill(note, screen_width() or WIDTH))
        return
    found = [row for row in overview.method_rows(loads=load) if kind in (None, row.kind)]
    rows = tuple(row.values for row in found if name in (None, row.name))
    if not rows:
        raise unknown("method", str(name), [row.name for row in found], error=BadInputError)
    in_full = options if wide else replace(options, layout="vertical")
    echo(render(QueryResult(overview.COLUMNS, rows), format_, options=in_full))
