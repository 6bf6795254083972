"""`mlprune methods`: list the methods that recipes can name."""

from typing import Annotated

import typer

from ray_jobs.cli.options import AllowPluginsOption, FormatOption, WideOption
from ray_jobs.cli.result_output import echo, screen_width


def methods(
    *,
    kind: Annotated[
        str | None, typer.Option(help="Only one kind: score, structure, schedule, refiner or aggregation.")
    ] = None,
    load: Annotated[
        bool, typer.Option("--load", help="Import the installed plug-ins, to show more than their names.")
    ] = False,
    allow_plugins: AllowPluginsOption = None,
    format_: FormatOption = "table",
    wide: WideOption = False,
) -> None:
    """List all methods with formula, statistics that they need, cost and citation, built-in ones and plug-ins.

    \b
    Examples:
      mlprune methods --kind score
      mlprune methods --load --format json
    """
    from catalog.result_formats import render  # noqa: PLC0415 - commands import lazily
    from catalog.results import QueryResult  # noqa: PLC0415
    from catalog.terminal import TableOptions  # noqa: PLC0415
    from mlprune.errors import BadInputError, unknown  # noqa: PLC0415
    from mlprune.methods.overview import COLUMNS, KINDS, method_rows  # noqa: PLC0415
    from mlprune.methods.plugins import provide_file  # noqa: PLC0415

    if kind is not None and kind not in KINDS:
        raise unknown("kind of method", kind, KINDS, error=BadInputError, option="--kind")
    for path in allow_plugins or []:
        provide_file(path)
    rows = tuple(row.values for row in method_rows(loads=load) if kind in (None, row.kind))
    options = TableOptions(screen_width(), is_wide=wide)
    echo(render(QueryResult(COLUMNS, rows), format_, options=options))
