"""Read the catalog of an open store: tables with filters, queries, SQL, and names of variants."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mlprune.api.choice import Choice, Values, listed, require_types, unknown_column
from mlprune.api.relation import ColumnDisplay, LateColumns, Relation, Value
from mlprune.errors import QueryError, StoreError, unknown

if TYPE_CHECKING:
    from catalog.sql_files import ParameterValue
    from catalog.store import Catalog
    from catalog.stored_names import Kind
    from mlprune.store.store import Store

Answer = TypeVar("Answer")

VARIANT = "variant"
"""Filter by the name of a variant, instead of by a column."""
VARIANT_ID = "variant_id"
METRICS_ORDER = "variant_number, task, split, language, metric, scoring_rule, evaluation_id"
"""Order of `metrics`: a number first, which is fast to compare."""


class Late(NamedTuple):
    """Columns of a statement that another statement has, once per value of a key."""

    file: str
    """The other statement in the folder `api`."""
    key: str
    """Integer column of the first statement: a row of the second one, from 0."""


VARIANT_COLUMNS = Late("variant_columns", "variant_number")
"""Texts of variants, for statements with the number of the variant."""


class CatalogReader:
    """The catalog of a store, which is open only while a query runs, so that a run can write to it.

    Args:
        store: a store with records.
    """

    def __init__(self, store: "Store") -> None:
        from catalog.store import Catalog  # noqa: PLC0415 - the interface loads libraries when they are used

        self._store = store
        self._catalog = Catalog.open(store)
        self._lock = threading.RLock()
        self._depth = 0
        """Calls of `use` that are running: one inside another keeps the file open."""

    def __reduce__(self) -> tuple[object, ...]:
        """A pickled reader, as in a store that is sent to another process, opens the catalog again."""
        return CatalogReader, (self._store,)

    def refresh(self) -> int:
        """Add the records to the catalog that it lacks; return their number."""
        return self.use(lambda catalog: catalog.fold().n_records)

    def close(self) -> None:
        """Close the catalog and delete temporary files."""
        with self._lock:
            self._catalog.close()

    def use(self, function: "Callable[[Catalog], Answer]") -> Answer:
        """Call a function with the catalog, then let other processes write to its file."""
        with self._lock:
            self._depth += 1
            try:
                return function(self._catalog)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._catalog.release()

    def sql(self, text: str, parameters: Mapping[str, Value] | None = None) -> Relation:
        """Run one SQL statement that only reads, with `$name` for each parameter.

        Raises:
            QueryError: the text is not such a statement, or a parameter is missing or unknown.
        """
        from catalog.queries import interval_owners_of  # noqa: PLC0415
        from catalog.sql_files import warn_of_deprecated_views  # noqa: PLC0415

        warn_of_deprecated_views(text)

        def answered(catalog: "Catalog") -> Relation:
            table = catalog.arrow(text, parameters)
            owners = interval_owners_of(catalog, text, table.column_names)
            return Relation(
                table, sql=text, parameters=parameters, display=ColumnDisplay(is_user_sql=True, interval_owners=owners)
            )

        return self.use(answered)

    def _run(self, text: str, parameters: Mapping[str, Value] | None = None) -> Relation:
        """Run a statement of this package, or the rows that a caller chooses of one."""
        table = self.use(lambda catalog: catalog.arrow(text, parameters))
        return Relation(table, sql=text, parameters=parameters)

    def read(self, file: str, values: Mapping[str, "ParameterValue"]) -> Relation:
        """Run a statement in the folder `api` with values of its parameters.

        Raises:
            QueryError: a value has the wrong type, or an id is unknown.
        """
        from catalog.queries import answer_query  # noqa: PLC0415
        from catalog.sql_files import parse_query, statement  # noqa: PLC0415

        query = parse_query(file, statement("api", file))
        answer = self.use(lambda catalog: answer_query(catalog, query, _plain(values)))
        return Relation(answer.table, sql=answer.sql, parameters=answer.values, notes=answer.notes)

    def named(self, name: str, values: Mapping[str, Value]) -> Relation:
        """Run a named query; `variant_id` may also be a name or a label.

        Raises:
            QueryError: there is no such query or parameter, or a value has the wrong type.
        """
        from catalog.queries import answer_named_query, require_evaluated  # noqa: PLC0415
        from catalog.sql_files import find_query  # noqa: PLC0415

        has_variant = VARIANT_ID in {parameter.name for parameter in find_query(name).parameters}

        def answered(catalog: "Catalog") -> Relation:
            given = values.get(VARIANT_ID) if has_variant else None
            ids = {} if given is None else {VARIANT_ID: self.one_id("variant", given)}
            answer = answer_named_query(catalog, name, _plain({**values, **ids}))
            if not answer.table.num_rows:
                require_evaluated(catalog, _plain(values))
            return Relation(answer.table, sql=answer.sql, parameters=answer.values, notes=answer.notes)

        return self.use(answered)

    def rows(self, file: str, choice: Choice, *, order: str = "", late: Late | None = None) -> Relation:
        """Return the rows of a statement in the folder `api` that a caller chooses.

        Args:
            choice: `variant` is a filter by id, name or label.
            order: columns to sort by.
            late: columns that are looked up in the result of another statement.
        Raises:
            QueryError: the choice is wrong, or a text of a filter occurs in no row.
        """
        from catalog.sql_files import statement  # noqa: PLC0415

        rows = statement("api", file).rstrip().removesuffix(";")
        return self.use(lambda _: self._chosen(rows, choice, order=order, late=late))

    def table(self, name: str, choice: Choice) -> Relation:
        """Return the rows of a table or view of the catalog, in the order of its columns; see `rows`.

        Raises:
            QueryError: there is no such table or view.
        """
        from catalog.store.export import require_relation  # noqa: PLC0415

        require_relation(name)
        return self.use(lambda _: self._chosen(f"FROM {name}", choice))

    def _chosen(self, rows: str, choice: Choice, *, order: str = "", late: Late | None = None) -> Relation:
        """Run a statement with what a caller chooses.

        Args:
            order: columns to sort by; all columns if empty.
        """
        schema = self._run(f"FROM (\n{rows}\n) LIMIT 0").arrow().schema
        columns = tuple(name for name in schema.names if late is None or name != late.key)
        filters = self._by_id(choice.filters, columns)
        for name in filters:
            if name not in columns:
                raise unknown_column(name, [*columns, VARIANT] if VARIANT_ID in columns else columns)
        require_types(filters, schema)
        order = order or ", ".join(f'"{name}"' for name in columns)
        clauses, parameters = choice.clauses(filters, columns, default_order=order)
        rest = f"\nFROM (\n{rows}\n){clauses}"
        relation = (
            self._run(f"SELECT *{rest}", parameters)
            if late is None
            else self._with_late(rest, parameters, columns, late)
        )
        lists = {name: values for name, values in filters.items() if len(values) > 1 and name in choice.filters}
        self._require_known(rows, lists if relation else filters)
        return relation

    def _with_late(self, rest: str, parameters: Mapping[str, Value], columns: tuple[str, ...], late: Late) -> Relation:
        """Run a statement without the columns that are looked up."""
        from catalog.sql_files import statement  # noqa: PLC0415

        values = self._run(statement("api", late.file)).arrow()
        table = self._run(f"SELECT * EXCLUDE ({', '.join(values.column_names)}){rest}", parameters).arrow()
        sql = f"SELECT * EXCLUDE ({late.key}){rest}"
        return Relation(table, sql=sql, parameters=parameters, late=LateColumns(late.key, values, columns))

    def _by_id(self, filters: Mapping[str, Value], columns: Sequence[str]) -> dict[str, list[Value]]:
        """Return the values of each filter, with the filter `variant` replaced by one of ids."""
        values = {name: listed(value) for name, value in filters.items()}
        if VARIANT in values and VARIANT not in columns and VARIANT_ID in columns:
            named = {one: None for name in values.pop(VARIANT) for one in self.ids("variant", name)}
            given = values.get(VARIANT_ID)
            values[VARIANT_ID] = [one for one in named if given is None or one in given]
        return values

    def _require_known(self, rows: str, filters: Values) -> None:
        """Check that the texts of filters occur: those of lists, and all of them after nothing was found.

        Raises:
            QueryError: one does not.
        """
        from catalog.sql_files import statement  # noqa: PLC0415

        for name, values in filters.items():
            texts = [value for value in values if isinstance(value, str)]
            if texts:
                known = self._run(statement("api", "distinct_values", column=f'"{name}"', rows=rows))["value"]
                for text in texts:
                    if text not in known:
                        raise unknown(name, text, map(str, known), error=QueryError)

    def ids(self, kind: "Kind", name: Value) -> list[str]:
        """Return the ids of the variants or sets with a name; see `found_ids`."""
        from catalog.stored_names import found_ids, lookup_in  # noqa: PLC0415

        return self.use(lambda catalog: found_ids(kind, _named(kind, name), lookup_in(catalog, kind)))

    def one_id(self, kind: "Kind", name: Value) -> str:
        """Return the id of the one variant or set with a name; see `found_id`."""
        from catalog.stored_names import found_id, lookup_in  # noqa: PLC0415

        return self.use(lambda catalog: found_id(kind, _named(kind, name), lookup_in(catalog, kind)))


def _named(kind: "Kind", name: Value) -> str:
    """Return the id of a variant, or a name as it is.

    Raises:
        StoreError: the name is not a text.
    """
    given = getattr(name, "id", name)
    if not isinstance(given, str):
        what = kind.replace("_", " ")
        raise StoreError(f"a {what} is named by a text", expected="an id, a name or a label", got=given)
    return given


def _plain(values: Mapping[str, Value]) -> "dict[str, ParameterValue]":
    """Return the values for a named query.

    Raises:
        QueryError: one is neither a text nor a number.
    """
    plain: dict[str, ParameterValue] = {}
    for name, value in values.items():
        if not isinstance(value, str | int | float | bool | None):
            raise QueryError("a parameter has the wrong type", name=name, expected="a text or a number", got=value)
        plain[name] = value
    return plain
