"""Parameters of queries: their declarations in a query file, and the values that a user gives as `name=value`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlprune.errors import QueryError, unknown

ParameterValue: TypeAlias = str | float | bool | None


@dataclass(frozen=True)
class Parameter:
    """A `$name` of a named query."""

    name: str
    type: str
    """VARCHAR, DOUBLE, INTEGER or BOOLEAN."""
    default: ParameterValue = None
    required: bool = False
    """Whether the parameter has no default. A default may be NULL."""

    def __str__(self) -> str:
        return f"${self.name} {self.type}" + ("" if self.required else f" = {json.dumps(self.default)}")

    @property
    def declaration(self) -> str:
        """The parameter as a query file declares it; `parse_default` reads its default."""
        if self.required:
            return f"${self.name} {self.type}"
        default = "NULL" if self.default is None else json.dumps(self.default)
        text = f"'{self.default}'" if isinstance(self.default, str) else default
        return f"${self.name} {self.type} = {text}"


def parse_parameters(
    pairs: Sequence[str], declared: Sequence[Parameter] | None = None, *, query: str = ""
) -> dict[str, ParameterValue]:
    """Parse pairs `name=value` into values by parameter name.

    With declared parameters, values are converted to their types, and missing parameters get their defaults. For SQL, a
    JSON number, true, false or null is converted, and any other value is text. A value in double quotes is always text.

    Args:
        declared: the parameters of the query; None for SQL, which declares none.
        query: name of the query, for messages.
    Raises:
        QueryError: a pair is not `name=value`, a name occurs twice, is unknown or missing, or a value has another type.
    """
    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise QueryError("a parameter must have the form name=value", expected="name=value", got=pair)
        if name in texts:
            raise QueryError("a parameter occurs twice", got=name)
        texts[name] = value
    if declared is None:
        return {name: _guess_type(value) for name, value in texts.items()}
    return _convert_all(texts, {parameter.name: parameter for parameter in declared}, query=query)


def _convert_all(
    texts: Mapping[str, str], parameters: Mapping[str, Parameter], *, query: str
) -> dict[str, ParameterValue]:
    if unknown_names := sorted(set(texts) - set(parameters)):
        raise QueryError("a parameter is unknown", query=query, expected=sorted(parameters), got=unknown_names)
    missing = [name for name, parameter in parameters.items() if parameter.required and name not in texts]
    if missing:
        raise QueryError("a parameter is missing", query=query, expected=missing, got=sorted(texts))
    return {
        name: _convert(texts[name], parameter) if name in texts else parameter.default
        for name, parameter in parameters.items()
    }


def check_values(
    values: Mapping[str, ParameterValue], declared: Sequence[Parameter], *, query: str
) -> dict[str, ParameterValue]:
    """Check the values that a program gives to the parameters of a query; the others get their defaults.

    Args:
        values: parameter -> value; None is NULL, and a text is converted as on the command line.
        query: name of the query, for messages.
    Raises:
        QueryError: a name is unknown or missing, or a value has another type.
    """
    parameters = {parameter.name: parameter for parameter in declared}
    for name in values:
        if name not in parameters:
            raise unknown("parameter", name, parameters, error=QueryError, query=query)
    missing = [name for name, parameter in parameters.items() if parameter.required and values.get(name) is None]
    if missing:
        raise QueryError("a parameter is missing", query=query, expected=missing, got=sorted(values))
    return {
        name: _checked(values[name], parameter) if name in values else parameter.default
        for name, parameter in parameters.items()
    }


def _checked(value: ParameterValue, parameter: Parameter) -> ParameterValue:
    if isinstance(value, str):
        return _convert(value, parameter)
    if value is None or type(value) in PYTHON_TYPES[parameter.type]:
        return value
    raise QueryError("a parameter has the wrong type", name=parameter.name, expected=parameter.type, got=value)


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


CONVERTERS: Mapping[str, Callable[[str], ParameterValue]] = {
    "VARCHAR": str,
    "DOUBLE": float,
    "INTEGER": int,
    "BOOLEAN": _boolean,
}
"""Type in a query file -> conversion of a user's text."""
PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "VARCHAR": (),
    "DOUBLE": (int, float),
    "INTEGER": (int,),
    "BOOLEAN": (bool,),
}
"""Type in a query file -> types of a program's values, other than text."""


def _convert(text: str, parameter: Parameter) -> ParameterValue:
    try:
        return CONVERTERS[parameter.type](text)
    except (ValueError, KeyError) as err:
        raise QueryError(
            "a parameter has the wrong type", name=parameter.name, expected=parameter.type, got=text
        ) from err


def _guess_type(text: str) -> ParameterValue:
    """Convert a text without a declared type: a JSON number, boolean, null or string, otherwise the text itself."""
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return value if value is None or isinstance(value, str | int | float) else text


def parse_default(text: str | None) -> ParameterValue:
    """Parse a default, which is written as in SQL."""
    if text is None or text == "NULL":
        return None
    return text[1:-1] if text.startswith("'") else _guess_type(text)
