"""Named queries as functions that complete in a notebook: `store.queries.best_by_language(task="xnli")`."""

from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import TYPE_CHECKING

from mlprune.api.reading import CatalogReader
from mlprune.api.relation import Relation, Value, table_html
from mlprune.errors import QueryError

if TYPE_CHECKING:
    from catalog.sql_files import NamedQuery


class QueryFunction:
    """A named query that can be called with its parameters.

    Args:
        reader: the catalog.
        query: the query.
    """

    def __init__(self, reader: CatalogReader, query: "NamedQuery") -> None:
        self._reader = reader
        self._query = query
        self.__name__ = query.name
        parameters = "".join(f"\n{parameter}" for parameter in query.parameters)
        self.__doc__ = f"{query.description}\n{parameters}"
        self.__signature__ = Signature(
            [
                Parameter(
                    one.name,
                    Parameter.KEYWORD_ONLY,
                    default=Parameter.empty if one.required else one.default,
                    annotation=one.type,
                )
                for one in query.parameters
            ]
        )

    def __call__(self, **parameters: Value) -> Relation:
        """Run the query; see `OpenStore.query`."""
        return self._reader.named(self._query.name, parameters)

    @property
    def sql(self) -> str:
        """The statement, with its comment."""
        return self._query.sql

    def __repr__(self) -> str:
        return f"<query {self._query.name}{self.__signature__}: {self._query.summary}>"


@dataclass(frozen=True)
class NamedQueries:
    """All named queries: attributes, and keys that complete in a notebook."""

    _reader: CatalogReader

    def __getattr__(self, name: str) -> QueryFunction:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except QueryError as err:
            raise AttributeError(str(err)) from err

    def __getitem__(self, name: str) -> QueryFunction:
        """Return a query.

        Raises:
            QueryError: there is no such query.
        """
        from catalog.sql_files import find_query  # noqa: PLC0415 - the interface loads the catalog when it is used

        return QueryFunction(self._reader, find_query(name))

    def __dir__(self) -> list[str]:
        return [query.name for query in _all()]

    def _ipython_key_completions_(self) -> list[str]:
        return dir(self)

    def __repr__(self) -> str:
        return "\n".join(f"{query.name}: {query.summary}" for query in _all())

    def _repr_html_(self) -> str:
        rows = [(query.name, ", ".join(map(str, query.parameters)), query.summary) for query in _all()]
        return table_html(("query", "parameters", "answer"), rows, n_rows=len(rows))


def _all() -> "list[NamedQuery]":
    from catalog.sql_files import list_queries  # noqa: PLC0415

    return list_queries()
