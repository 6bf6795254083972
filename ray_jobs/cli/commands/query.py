"""`mlprune query`: query the catalog."""

from collections.abc import Iterator
from typing import Annotated

import typer

from catalog.results import QueryResult
from catalog.sql_files import FIRST_QUESTIONS, TOPICS, NamedQuery, list_queries, listed_views
from ray_jobs.cli import options
from ray_jobs.cli.known_words import complete_described, complete_parameter, complete_query


def query(
    sql_or_name: Annotated[
        str,
        typer.Argument(help="SQL, a .sql file, or the name of a built-in query.", autocompletion=complete_query),
    ] = "",
    *,
    store: options.StoreOption = "./demo-store",
    param: Annotated[
        list[str] | None,
        typer.Option(
            help="Query parameter, name=value; repeatable. A variant_id may be a label, an id its beginning.",
            autocompletion=complete_parameter,
        ),
    ] = None,
    format_: options.FormatOption = "table",
    rows: options.RowsOption = options.MOST_ROWS,
    wide: options.WideOption = False,
    vertical: options.VerticalOption = False,
    digits: options.DigitsOption = None,
    topics: Annotated[bool, typer.Option("--topics", "--list", help="List the built-in queries by topic.")] = False,
    describe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Describe a query, table or view: its parameters and columns.",
            autocompletion=complete_described,
        ),
    ] = "",
) -> None:
    """Query the catalog with SQL or with a built-in query.

    Without one, six questions to begin with are shown. A table fits the terminal: it has at most 20 rows and the
    columns for which there is room, and its last lines name the rest. Columns of a built-in query that are the same in
    every row are listed above it; ids are shortened.

    An interval is joined to the column of its name, P_ci_low to P. ci_low without such a column is joined to the column
    that it has in the view or table that your SQL reads, if every row has low <= value <= high.

    \b
    Examples:
      mlprune query --store runs/
      mlprune query best_by_language --store runs/ --param task=facts
      mlprune query --describe differences
      mlprune query "SELECT language, value FROM metrics LIMIT 5" --store runs/ --format json
      mlprune query significant_changes --store runs/ --wide --digits 5
      mlprune query my-question.sql --store runs/
    """
    if describe:
        _describe(describe, format_)
        return
    if topics or not (sql_or_name.strip() or param):
        if format_ != "table":
            from catalog.terminal.result_table import render  # noqa: PLC0415 - loads rich

            options.echo(render(_queries() if topics else _questions(), format_))
            return
        for line in _queries_by_topic() if topics else _first_questions(store):
            options.echo(options.cut_line(line))
        return
    from catalog.queries import answer_user_query  # noqa: PLC0415 - these load DuckDB
    from catalog.store import Catalog  # noqa: PLC0415

    with Catalog.open(options.existing_store(store)) as catalog:
        catalog.fold()
        answer = answer_user_query(catalog, sql_or_name, param or [])
        layout = options.layout_of(wide=wide, vertical=vertical)
        wanted = options.ResultFormat(format_, layout, rows, digits)
        text = options.format_result(catalog, answer.result, wanted, answer=answer)
    notes = list(answer.notes)
    if format_ == "table" and not answer.result.rows:
        text = options.format_text(notes.pop())
    for note in notes:
        options.echo(note, err=True)
    options.echo(text)


def _describe(name: str, format_: str) -> None:
    """Write what there is to know about a query, table or view; other formats have its columns."""
    from catalog.describe import describe, empty_catalog  # noqa: PLC0415 - loads DuckDB
    from catalog.terminal.result_table import render  # noqa: PLC0415 - loads rich

    with empty_catalog() as catalog:
        description = describe(catalog, name)
    if format_ == "table":
        for line in description.lines(options.screen_width()):
            options.echo(line)
        return
    rows = tuple((one.name, one.type, one.unit, one.meaning) for one in description.columns)
    options.echo(render(QueryResult(("name", "type", "unit", "meaning"), rows), format_))


def _first_questions(store: str) -> Iterator[str]:
    yield f"Six first questions (mlprune query NAME --store {store}):"
    width = max(map(len, FIRST_QUESTIONS))
    for name, question in FIRST_QUESTIONS.items():
        yield f"  {name:{width}}  {question}"
    n_more = len(list_queries()) - len(FIRST_QUESTIONS)
    yield f'More: {n_more} in {len(TOPICS)} topics: mlprune query --topics.  SQL: mlprune query "SELECT ...".'


def _questions() -> QueryResult:
    return QueryResult(("name", "question"), tuple(FIRST_QUESTIONS.items()))


def _queries() -> QueryResult:
    """Return one row per built-in query, in the order of the topics."""
    rows = [(query.name, topic, query.summary) for topic, members in _members().items() for query in members]
    return QueryResult(("name", "topic", "meaning"), tuple(rows))


def _members() -> dict[str, list[NamedQuery]]:
    """Return topic -> its queries; the last one, without a name, has those of no topic."""
    members: dict[str, list[NamedQuery]] = {topic: [] for topic in (*TOPICS, "")}
    for query in list_queries():
        members[query.topic if query.topic in TOPICS else ""].append(query)
    return members


def _queries_by_topic() -> Iterator[str]:
    """Yield one line per topic and per query; those of no topic come last."""
    width = max(len(query.name) for query in list_queries())
    for topic, members in _members().items():
        yield from [TOPICS.get(topic, "Others")] if members else []
        yield from (f"  {query.name:{width}}  {query.summary}" for query in members)
    yield "Views for SQL, described by mlprune query --describe NAME"
    yield from (f"  {name:{width}}  {text}" for name, text in listed_views().items())
