"""Generate the reference page of all tables, views and queries, from the schema and query files."""

import itertools
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from catalog.ingest.table_files import declared_tables, foreign_keys, macros, meanings_in, views
from catalog.sql_files import INTERNAL, NamedQuery, SqlFile, capability_of, list_queries, sql_files, statement
from catalog.store import Catalog
from catalog.store.item_answers import MACRO, PREDICTIONS
from infra.pages.page import page
from mlprune.capabilities.publishing.model_card import table
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.store import Store

OPENING = """
[catalog.md](../catalog.md) explains the catalog and how to query it. The texts are those of `COMMENT ON` in the catalog
itself. In the column `key`, `1`, `2`, ... are positions in the primary key, and `→` names the table that a foreign key
refers to, which `mlprune check store` verifies.
"""

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
    """Return the page."""
    with tempfile.TemporaryDirectory() as folder, Catalog.in_memory(Store(folder)) as catalog:
        relations = _relations(catalog)
        queries = [(query, _columns(catalog, query)) for query in list_queries()]
        calls = {f"{file.name}('{_argument(file)}')": file for file in macros().values()}
        calls |= {f"{file.name}('TASK')": file for file in sql_files("answers") if file.name == MACRO}
        with_argument = [(call, file, catalog.select(f"FROM {call}").columns) for call, file in calls.items()]
    helpers = {name: (kind, rows) for (kind, name), rows in relations.items() if _is_helper(name)}
    listed = [table.relation for table in declared_tables().values() if table.relation not in helpers]
    tables = {name: relations["table", name] for name in listed}
    of_people = {name: rows for (kind, name), rows in relations.items() if kind == "view" and name not in helpers}
    parts = [
        OPENING.strip(),
        f"**[Tables](#tables)**: {_links(tables)}",
        f"**[Views](#views)**: {_links(of_people)}",
        f"**[Queries](#queries)**: {_links((query.name for query, _ in queries), taken=[*tables, *of_people])}",
        f"**[Helpers](#helpers)**: {_links(sorted(helpers))}",
        "**[Record kinds](#record-kinds)** of the store",
        "## Tables",
        *itertools.chain.from_iterable(_table(name, rows) for name, rows in tables.items()),
        "## Views",
        *itertools.chain.from_iterable(_view(name, rows) for name, rows in of_people.items()),
        "## Views with an argument",
        *itertools.chain.from_iterable(_macro(*described) for described in with_argument),
        "## Queries",
        *itertools.chain.from_iterable(_query(query, columns) for query, columns in queries),
        "## Helpers",
        *itertools.chain.from_iterable(
            _table(name, rows) if kind == "table" else _view(name, rows)
            for name, (kind, rows) in sorted(helpers.items())
        ),
    ]
    parts += ["## Record kinds", _record_kinds()]
    return page("Catalog reference", parts, source="the `.sql` files in `catalog/sql/`")


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


def _links(names: Iterable[str], taken: Sequence[str] = ()) -> str:
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


def _view(name: str, columns: Sequence[Row]) -> tuple[str, ...]:
    """Return a table of the columns that the view computes, and the others with the relation that explains them."""
    by_relation: dict[str, list[Row]] = {}
    for column in columns:
        by_relation.setdefault(_source(name, column["column_name"]), []).append(column)
    own = [
        (f"`{column['column_name']}`", column["data_type"], column["column_comment"])
        for column in by_relation.pop(_plain(name), [])
    ]
    others = "; ".join(
        f"as in [{_named(relation)}](#{_anchor(_named(relation))}): "
        + ", ".join(f"`{column['column_name']}` {column['data_type']}" for column in members)
        for relation, members in by_relation.items()
    )
    parts = [table(("column", "type", "meaning"), own)] if own else []
    sentence = _sentence(columns) + _capability("views", _plain(name))
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
    found = capability_of(folder, name)
    return f" Capability: `{found}`." if found else ""


def _query(query: NamedQuery, columns: Sequence[str]) -> tuple[str, ...]:
    listed = ", ".join(f"`{column}`" for column in columns)
    given = ", ".join(f"`{parameter}`" for parameter in query.parameters)
    reads = f"\n\nReads `{'`, `'.join(map(str, query.reads))}`." if query.reads else ""
    return (
        f"### `{query.name}`",
        _capital(query.description) + _capability("queries", query.name),
        f"Parameters: {given or 'none'}.{reads}\n\nColumns: {listed}.",
    )


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
