"""`mlprune query`: query the catalog."""

from typing import Annotated

import typer

from catalog.sql_files import list_queries
from ray_jobs.cli import options


def query(
    sql_or_name: Annotated[
        str,
        typer.Argument(
            help="SQL, a .sql file, or the name of a built-in query.", autocompletion=options.complete_query
        ),
    ] = "",
    *,
    store: options.StoreOption = "./demo-store",
    param: Annotated[
        list[str] | None,
        typer.Option(help="Query parameter, name=value; repeatable. Of an id, a unique beginning is enough."),
    ] = None,
    format_: options.FormatOption = "table",
    rows: options.RowsOption = options.MOST_ROWS,
    wide: options.WideOption = False,
    vertical: options.VerticalOption = False,
    digits: options.DigitsOption = None,
    list_: Annotated[bool, typer.Option("--list", help="List the built-in queries.")] = False,
) -> None:
    """Query the catalog with SQL or with a built-in query.

    A table fits the terminal: it has at most 20 rows and the columns for which there is room, and its last lines name
    the rest. Columns that are the same in every row are listed above it; ids are shortened.

    \b
    Examples:
      mlprune query best_by_language --store runs/ --param task=facts
      mlprune query "SELECT language, value FROM metrics LIMIT 5" --store runs/ --format json
      mlprune query significant_changes --store runs/ --wide --digits 5
      mlprune query my-question.sql --store runs/
    """
    if list_:
        for built_in in list_queries():
            options.echo(options.format_report(f"{built_in.name}: {built_in.summary}"))
        return
    from catalog.queries import answer_user_query  # noqa: PLC0415 - these load DuckDB
    from catalog.store import Catalog  # noqa: PLC0415

    with Catalog.open(options.existing_store(store)) as catalog:
        catalog.fold()
        answer = answer_user_query(catalog, sql_or_name, param or [])
        layout = options.layout_of(wide=wide, vertical=vertical)
        text = options.format_result(
            catalog, answer.result, format_name=format_, layout=layout, first=answer.first, rows=rows, digits=digits
        )
    notes = list(answer.notes)
    if format_ == "table" and not answer.result.rows:
        text = options.format_text(notes.pop())
    for note in notes:
        options.echo(note, err=True)
    options.echo(text)
