"""`mlprune query`: query the catalog."""

from typing import Annotated

import typer

from ray_jobs.cli.options import FormatOption, StoreOption, existing_store


def query(
    sql_or_name: Annotated[str, typer.Argument(help="SQL, a .sql file, or the name of a built-in query.")] = "",
    *,
    store: StoreOption = "./demo-store",
    param: Annotated[list[str] | None, typer.Option(help="Query parameter, name=value; repeatable.")] = None,
    format_: FormatOption = "table",
    list_: Annotated[bool, typer.Option("--list", help="List the built-in queries.")] = False,
) -> None:
    """Query the catalog with SQL or with a built-in query.

    \b
    Examples:
      mlprune query best_by_language --store runs/ --param task=facts
      mlprune query "SELECT language, value FROM metrics LIMIT 5" --store runs/ --format json
      mlprune query my-question.sql --store runs/
    """
    from catalog.queries import answer_user_query, list_queries, render  # noqa: PLC0415 - commands import lazily
    from catalog.store import Catalog  # noqa: PLC0415

    if list_:
        for built_in in list_queries():
            typer.echo(f"{built_in.name}: {built_in.summary}")
        return
    with Catalog.open(existing_store(store)) as catalog:
        catalog.fold()
        answer = answer_user_query(catalog, sql_or_name, param or [])
        text = render(answer.result, format_)
    for note in answer.notes:
        typer.echo(note, err=True)
    typer.echo(text)
