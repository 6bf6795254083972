"""Generate the reference pages of queries and views, and of tables, from the schema and query files."""

import itertools
import re
import tempfile
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from catalog.ingest.table_files import declared_tables, foreign_keys, macros, meanings_in, views
from catalog.sql_files import INTERNAL, TOPICS, NamedQuery, SqlFile, capability_of, list_queries, sql_files, statement
from catalog.store import Catalog
from catalog.store.item_answers import MACRO, PREDICTIONS
from infra.pages.page import capability_note, deprecation_note, page
from mlprune.capabilities.publishing.model_card import table
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.store import Store

OPENING = """
[catalog.md](../catalog.md) explains the catalog and how to query it, [tables.md](tables.md) lists what the views are
made from. The texts are those of `COMMENT ON` in the catalog itself.
"""
OPENING_OF_TABLES = """
[catalog.md](catalog.md) has the queries and views, which answer most questions. The texts are those of `COMMENT ON` in
the catalog itself. In the column `key`, `1`, `2`, ... are positions in the primary key, and `→` names the table that a
foreign key refers to, which `mlprune check store` verifies. Views and other tables show helpers in full.
"""
VIEWS, TABLES = "catalog.md", "tables.md"
"""The two pages."""
OTHERS = "Others"
"""Title of the queries without a topic."""

HELPERS = frozenset(
    (
        *("aggregate_results", "answer_results", "comparison_results"),
        *("fold_state", "foreign_keys", "schema_objects", "schema_version"),
    )
)
"""Tables that views show in full, or that are about the catalog file; the page has them last, with the schema
`internal`."""

Row = Mapping[str, Any]


def catalog_reference() -> str:
    """Return the page of queries, by topic, and of views."""
    with tempfile.TemporaryDirectory() as folder, Catalog.in_memory(Store(folder)) as catalog:
        relations = _relations(catalog)
        queries = {query.name: (query, _columns(catalog, query)) for query in list_queries()}
        calls = {f"{file.name}('{_argument(file)}')": file for file in macros().values()}
        calls |= {f"{file.name}('TASK')": file for file in sql_files("answers") if file.name == MACRO}
        with_argument = [(call, file, catalog.select(f"FROM {call}").columns) for call, file in calls.items()]
    listed = {name: rows for (kind, name), rows in relations.items() if kind == "view" and not _is_helper(name)}
    topics: dict[str, list[str]] = {title: [] for title in (*TOPICS.values(), OTHERS)}
    for name, (query, _) in queries.items():
        topics[TOPICS.get(query.topic, OTHERS)].append(name)
    parts = [
        OPENING.strip(),
        "## Queries",
        "\n".join(f"- **{title}**: {_links(names)}" for title, names in topics.items() if names),
        "## Views",
        _links(listed, taken=queries),
        *(
            part
            for title, names in topics.items()
            for part in (f"## {title}", *itertools.chain.from_iterable(_query(*queries[name]) for name in names))
            if names
        ),
        "## Columns of the views",
        *itertools.chain.from_iterable(_view(name, rows, page=TABLES, on_page=listed) for name, rows in listed.items()),
        "## Views with an argument",
        *itertools.chain.from_iterable(_macro(*described) for described in with_argument),
    ]
    return page("Queries and views", parts, source="the `.sql` files in `catalog/sql/`")


def table_reference() -> str:
    """Return the page of tables, helpers and record kinds."""
    with tempfile.TemporaryDirectory() as folder, Catalog.in_memory(Store(folder)) as catalog:
        relations = _relations(catalog)
    helpers = {name: (kind, rows) for (kind, name), rows in relations.items() if _is_helper(name)}
    names = [declared.relation for declared in declared_tables().values() if declared.relation not in helpers]
    tables = {name: relations["table", name] for name in names}
    on_page = {*tables, *helpers}
    parts = [
        OPENING_OF_TABLES.strip(),
        f"**[Tables](#tables)**: {_links(tables)}",
        f"**[Helpers](#helpers)**: {_links(sorted(helpers))}",
        "**[Record kinds](#record-kinds)** of the store",
        "## Tables",
        *itertools.chain.from_iterable(_table(name, rows) for name, rows in tables.items()),
        "## Helpers",
        *itertools.chain.from_iterable(
            _table(name, rows) if kind == "table" else _view(name, rows, page=VIEWS, on_page=on_page)
            for name, (kind, rows) in sorted(helpers.items())
        ),
        "## Record kinds",
        _record_kinds(),
    ]
    return page("Tables", parts, source="the `.sql` files in `catalog/sql/`")


def _record_kinds() -> str:
    """Return what one record of each kind is, and the tables that have its rows."""
    rows = [
        (f"`{name}`", kind.one_per, ", ".join(f"`{table_name}`" for table_name in kind.tables))
        for name, kind in RECORD_KINDS.items()
    ]
    return table(("kind", "one record per", "tables"), rows)


def _argument(file: SqlFile) -> str:
    """Return what the first argument of a table macro is: `ID` for `of_id`."""
    return file.statement.partition("(of_")[2].split(",")[0].split(")")[0].upper()


def _relations(catalog: Catalog) -> dict[tuple[str, str], list[Row]]:
    """Return (kind, name) -> rows of its columns."""
    relations: dict[tuple[str, str], list[Row]] = {}
    for row in catalog.query(statement("reference", "columns")):
        relations.setdefault((row["kind"], row["relation"]), []).append(row)
    return relations


def _columns(catalog: Catalog, query: NamedQuery) -> Sequence[str]:
    """Return the columns of a query."""
    values = {parameter.name: parameter.default for parameter in query.parameters}
    tables = {table.name: PREDICTIONS for table in query.reads}
    return catalog.select(query.sql, query.bound(values), tables=tables).columns


def _links(names: Iterable[str], taken: Container[str] = ()) -> str:
    """Return links to headings; the anchor of a second heading with the same name ends in -1."""
    return ", ".join(f"[{name}](#{_anchor(name)}{'-1' if name in taken else ''})" for name in names)


def _anchor(name: str) -> str:
    """Return the anchor of a heading with the name of a relation."""
    return name.replace(".", "")


def _is_helper(name: str) -> bool:
    return name in HELPERS or name.startswith(f"{INTERNAL}.")


def _plain(name: str) -> str:
    """Return the name of a relation without its schema."""
    return name.removeprefix(f"{INTERNAL}.")


def _table(name: str, columns: Sequence[Row]) -> tuple[str, ...]:
    rows = [
        (f"`{column['column_name']}`", column["data_type"], _key(name, column), column["column_comment"])
        for column in columns
    ]
    sentence = _sentence(columns) + _capability("schema", _plain(name))
    return f"### `{name}`", sentence, table(("column", "type", "key", "meaning"), rows)


def _key(name: str, column: Row) -> str:
    """Return the column's position in the primary key, and the table of its foreign key."""
    targets = [key.parent for key in foreign_keys() if (key.table, key.column) == (_plain(name), column["column_name"])]
    positions = [str(column["key_place"])] if column["key_place"] else []
    return " ".join([*positions, *(f"→ [{target}](#{target})" for target in targets)])


def _view(name: str, columns: Sequence[Row], *, page: str, on_page: Container[str]) -> tuple[str, ...]:
    """Return a table of the columns that the view computes, and the others with the relation that explains them.

    Relations that are not `on_page` are on the other `page`.
    """
    by_relation: dict[str, list[Row]] = {}
    for column in columns:
        by_relation.setdefault(_source(name, column["column_name"]), []).append(column)
    own = [
        (f"`{column['column_name']}`", column["data_type"], column["column_comment"])
        for column in by_relation.pop(_plain(name), [])
    ]
    others = "; ".join(
        f"as in [{_named(relation)}]({'' if _named(relation) in on_page else page}#{_anchor(_named(relation))}): "
        + ", ".join(f"`{column['column_name']}` {column['data_type']}" for column in members)
        for relation, members in by_relation.items()
    )
    parts = [table(("column", "type", "meaning"), own)] if own else []
    sentence = (
        _sentence(columns) + _capability("views", _plain(name)) + deprecation_note(views()[_plain(name)].deprecated)
    )
    return f"### `{name}`", sentence, *parts, *([f"Columns {others}."] if others else [])


def _source(view: str, column: str) -> str:
    """Return the relation that states what a column of a view means."""
    return meanings_in(_plain(view))[column].relation


def _named(relation: str) -> str:
    """Return the name in SQL of a table or view."""
    file = views()[relation] if relation in views() else declared_tables()[relation].file
    return file.relation


def _macro(call: str, file: SqlFile, columns: Sequence[str]) -> tuple[str, ...]:
    listed = ", ".join(f"`{column}`" for column in columns)
    named = ", ".join(re.findall(r"\w+ := [^,)]+", file.statement))
    arguments = f" Arguments by name and their defaults: `{named}`." if named else ""
    return (
        f"### `{file.name}`",
        _capital(file.description),
        f"Call it as `FROM {call}`.{arguments}\n\nColumns: {listed}.",
    )


def _sentence(columns: Sequence[Row]) -> str:
    return _capital(columns[0]["relation_comment"])


def _capability(folder: str, name: str) -> str:
    """Return the capability of a file; empty if it belongs to the core."""
    return capability_note(capability_of(folder, name))


def _query(query: NamedQuery, columns: Sequence[str]) -> tuple[str, ...]:
    listed = ", ".join(f"`{column}`" for column in columns)
    given = ", ".join(f"`{parameter}`" for parameter in query.parameters)
    reads = f"\n\nReads `{'`, `'.join(map(str, query.reads))}`." if query.reads else ""
    return (
        f"### `{query.name}`",
        _capital(query.description) + _capability("queries", query.name) + deprecation_note(query.deprecated),
        f"Parameters: {given or 'none'}.{reads}\n\nColumns: {listed}.",
    )


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
