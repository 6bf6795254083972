"""Rows that a caller chooses: filters by column, conditions in SQL, an order and a limit.

Values are always parameters of the statement. A condition is SQL, checked to be one expression; like every statement of
an open store it can only read the catalog.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from mlprune.api.relation import Value
from mlprune.errors import QueryError, unknown

if TYPE_CHECKING:
    import pyarrow as pa

Texts: TypeAlias = str | Sequence[str]
Values: TypeAlias = Mapping[str, Sequence[Value]]
"""Column -> values, any of which a row may have."""
LISTING = "the result's .columns"
"""Where an error says that all columns are listed."""
_ORDER = re.compile(r"(?P<column>\S+)(?:\s+(?P<way>ASC|DESC))?", re.IGNORECASE)
"""One column of an order."""


@dataclass(frozen=True)
class Choice:
    """What a caller asks of a relation; `OpenStore.variants` describes the arguments."""

    filters: Mapping[str, Value] = field(default_factory=dict)
    where: Texts = ()
    parameters: Mapping[str, Value] | None = None
    order_by: Texts | None = None
    limit: int | None = None

    def clauses(self, filters: Values, columns: Sequence[str], *, default_order: str) -> tuple[str, dict[str, Value]]:
        """Return the WHERE, ORDER BY and LIMIT of a statement, and the values of its parameters.

        Args:
            filters: those of the choice, by columns.
            columns: of the statement.
            default_order: columns in SQL that decide the order of rows which `order_by` leaves open.
        Raises:
            QueryError: a condition is not an expression, there is no such column, the limit is not a number of rows, or
                two parameters have the same name.
        """
        conditions, parameters = _conditions(filters)
        given = dict(self.parameters or {})
        if twice := sorted(set(given) & set(parameters)):
            raise QueryError("a parameter has the name of one that a filter uses", got=twice, expected="another name")
        conditions += [_condition(text) for text in _texts(self.where, "where")]
        where = f"\nWHERE {' AND '.join(conditions)}" if conditions else ""
        order = self._order(columns, default_order)
        by = f"\nORDER BY {order}" if order else ""
        return f"{where}{by}{self._limit()}", {**parameters, **given}

    def _order(self, columns: Sequence[str], default: str) -> str:
        if self.order_by is None:
            return default
        names = [_order(text, columns) for text in _texts(self.order_by, "order_by")]
        return ", ".join([*names, default]) if names and default else ", ".join(names)

    def _limit(self) -> str:
        if self.limit is None:
            return ""
        if not isinstance(self.limit, int) or isinstance(self.limit, bool) or self.limit < 0:
            raise QueryError("the limit is not a number of rows", expected="0 or more", got=self.limit)
        return f"\nLIMIT {self.limit}"


def listed(value: Value) -> list[Value]:
    """Return the values of a filter: those of a list, tuple, set, array or series, or the only one."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    convert = getattr(value, "tolist", None) or getattr(value, "to_list", None)  # of numpy and pandas, of polars
    return [value] if convert is None else listed(convert())


def require_types(filters: Values, schema: "pa.Schema") -> None:
    """Check that the values of filters have the types of their columns.

    Raises:
        QueryError: one has another type, such as a text for a number.
    """
    for name, values in filters.items():
        expected = _kind(schema.field(name).type)
        for value in values:
            if value is not None and expected and expected != _kind_of(value):
                raise QueryError("a filter has the wrong type", column=name, expected=expected, got=value)


def unknown_column(name: str, known: Iterable[str]) -> QueryError:
    """Return the error for a column that a relation does not have."""
    return unknown("column", name, known, error=QueryError, n_nearest=3, listing=LISTING)


def _kind(column: "pa.DataType") -> str:
    """Return what the values of a column are, in an error; empty for other types, which DuckDB checks."""
    from pyarrow import types  # noqa: PLC0415 - loaded by the catalog

    if types.is_boolean(column):
        return "True or False"
    if types.is_integer(column) or types.is_floating(column) or types.is_decimal(column):
        return "a number"
    return "a text" if types.is_string(column) or types.is_large_string(column) else ""


def _kind_of(value: Value) -> str:
    if isinstance(value, bool):
        return "True or False"
    if isinstance(value, str):
        return "a text"
    return "a number" if isinstance(value, int | float | Decimal) else type(value).__name__


def _conditions(filters: Values) -> tuple[list[str], dict[str, Value]]:
    """Return the conditions of filters by columns, and the values of their parameters."""
    conditions: list[str] = []
    parameters: dict[str, Value] = {}
    for name, values in filters.items():
        names = {f"{name}_{number}": value for number, value in enumerate(values) if value is not None}
        parameters.update(names)
        alternatives = [f'"{name}" IN ({", ".join(f"${key}" for key in names)})'] if names else []
        alternatives += [f'"{name}" IS NULL'] if None in values else []
        conditions.append(f"({' OR '.join(alternatives) or 'false'})")
    return conditions, parameters


def _condition(text: str) -> str:
    from catalog.store import require_expression  # noqa: PLC0415 - the interface loads the catalog when it is used

    require_expression(text)
    return f"({text}\n)" if "--" in text else f"({text})"


def _order(text: str, columns: Sequence[str]) -> str:
    match = _ORDER.fullmatch(text.strip())
    if match is None:
        raise QueryError("an order is not a column", expected="such as value, or value DESC", got=text)
    if match["column"] not in columns:
        raise unknown_column(match["column"], columns)
    return f'"{match["column"]}" {(match["way"] or "ASC").upper()}'


def _texts(given: Texts, argument: str) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise QueryError(f"{argument} is not a list of texts", expected=f'{argument}=["...", "..."]', got=given)
    return list(texts)
