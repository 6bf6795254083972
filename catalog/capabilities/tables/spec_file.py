"""Specifications of tables in YAML: those of this package, and a user's own."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from catalog.capabilities.tables import spec
from mlprune.errors import QueryError, repeated, unknown
from mlprune.vocabulary import METRIC_TRAITS
from mlprune.yaml_files import read_yaml

FOLDER = Path(__file__).parent
LIKE: tuple[str, ...] = ("paper",)
"""Specifications of this package: names of files in its folder, without suffix."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_REQUIRED = ("name", "task", "metric", "rows")


class SpecError(QueryError):
    """A specification of tables is wrong."""


def built_in_spec(name: str) -> tuple[spec.TableSpec, ...]:
    """Return the tables of a specification of this package.

    Raises:
        SpecError: there is no such specification.
    """
    if name not in LIKE:
        raise unknown("layout of tables", name, LIKE, error=SpecError)
    return read_spec(FOLDER / f"{name}.yaml")


def read_spec(path: Path) -> tuple[spec.TableSpec, ...]:
    """Read the tables of a file.

    Raises:
        SpecError: the file cannot be read, or a key or value is wrong; the message is one line.
    """
    try:
        value = read_yaml(path)
    except OSError as err:
        raise SpecError("the specification cannot be read", path=str(path), reason=err.strerror) from err
    except ValueError as err:
        raise SpecError("the specification is not YAML", path=str(path), reason=str(err)) from err
    try:
        return _tables(value)
    except SpecError as err:
        raise SpecError(err.message, {"path": str(path), **err.context}) from err


def _tables(value: object) -> tuple[spec.TableSpec, ...]:
    if not isinstance(value, dict) or set(value) != {"tables"} or not isinstance(value["tables"], list):
        raise SpecError("a specification has one key, tables, with a list", expected="tables: [{name: ...}]")
    tables = tuple(_table(entry, f"tables.{place}") for place, entry in enumerate(value["tables"]))
    for name in repeated(table.name for table in tables):
        raise SpecError("two tables have the same name", got=name)
    return tables


def _table(entry: object, where: str) -> spec.TableSpec:
    if not isinstance(entry, dict):
        raise SpecError("a table is not a mapping", key=where, expected="name, task, metric, rows", got=entry)
    for key in entry:
        if key not in _READERS:
            raise unknown("key", key, sorted(_READERS), error=SpecError, key=where)
    for key in _REQUIRED:
        if key not in entry:
            raise SpecError("a key is missing", key=f"{where}.{key}")
    values = {key: _READERS[key](value, f"{where}.{key}") for key, value in entry.items()}
    values.setdefault("title", values["task"])
    return spec.TableSpec(**values)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SpecError("a value is not a text", key=where, expected="a text", got=value)
    return value


def _name(value: object, where: str) -> str:
    name = _text(value, where)
    if _NAME.fullmatch(name) is None:
        raise SpecError(
            "the name of a table is not a file name", key=where, expected="letters, digits, - and _", got=name
        )
    return name


def _metric(value: object, where: str) -> str:
    metric = _text(value, where)
    if metric not in spec.METRICS:
        raise unknown("metric", metric, spec.METRICS, error=SpecError, key=where)
    return metric


def _metric_of_choice(value: object, where: str) -> str:
    if value == spec.RANK_CONSISTENCY:
        raise SpecError(
            "variants are not chosen by rank consistency", key=where, expected=list(METRIC_TRAITS), got=value
        )
    return _metric(value, where)


def _columns(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise SpecError("columns is not a list", key=where, expected="languages or pairs, such as [en, fr]", got=value)
    columns = tuple(_text(item, where) for item in value)
    if len(set(columns)) != len(columns):
        raise SpecError("columns names a language twice", key=where, got=list(columns))
    return columns


def _macro(value: object, where: str) -> str:
    if value not in get_args(spec.Macro):
        raise unknown("macro", value, get_args(spec.Macro), error=SpecError, key=where)
    return str(value)


def _choose_on(value: object, where: str) -> str | None:
    if value == "test":
        raise SpecError("variants are not chosen on test, which is for reporting", key=where, expected="dev, or null")
    return None if value is None else _text(value, where)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise SpecError("a value is not true or false", key=where, expected="true or false", got=value)
    return value


def _alpha(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise SpecError("alpha is not between 0 and 1", key=where, expected="a number such as 0.05", got=value)
    return float(value)


def _filters(value: object, where: str) -> spec.Filters:
    if not isinstance(value, dict):
        raise SpecError("a filter is not a mapping", key=where, expected="{score: wanda}", got=value)
    for column in value:
        if column not in spec.COLUMNS_OF_VARIANTS:
            raise unknown("column of variants", column, spec.COLUMNS_OF_VARIANTS, error=SpecError, key=where)
    return {column: _filter(allowed, f"{where}.{column}") for column, allowed in value.items()}


def _filter(value: object, where: str) -> tuple[spec.Filter, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str | int | float | bool | None) for item in values):
        raise SpecError("a filter is not a value or a list of values", key=where, expected="[0.3, 0.5]", got=value)
    return tuple(values)


def _rows(value: object, where: str) -> tuple[spec.RowSpec, ...]:
    if not isinstance(value, list) or not value:
        raise SpecError("rows is not a list", key=where, expected="[{label: dense, dense: true}]", got=value)
    return tuple(_row(entry, f"{where}.{place}") for place, entry in enumerate(value))


_READERS: Mapping[str, Callable[[object, str], Any]] = {
    "name": _name,
    "title": _text,
    "task": _text,
    "metric": _metric,
    "rows": _rows,
    "split": _text,
    "columns": _columns,
    "macro": _macro,
    "choose_on": _choose_on,
    "choose_task": _text,
    "choose_by": _metric_of_choice,
    "where": _filters,
    "marks": _flag,
    "alpha": _alpha,
}
"""Key of a table -> function that checks its value."""


def _row(entry: object, where: str) -> spec.RowSpec:
    if not isinstance(entry, dict) or "label" not in entry:
        raise SpecError(
            "a row is not a mapping with a label", key=where, expected="{label: dense, dense: true}", got=entry
        )
    label = _text(entry["label"], f"{where}.label")
    for column in spec.placeholders(label):
        if column not in spec.COLUMNS_OF_VARIANTS:
            raise unknown("column in a label", column, spec.COLUMNS_OF_VARIANTS, error=SpecError, key=f"{where}.label")
    return spec.RowSpec(label, _filters({key: value for key, value in entry.items() if key != "label"}, where))
