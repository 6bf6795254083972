"""Calls of the table macro `item_answers` in a statement: what they ask for, before the statement runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.results import Value
from mlprune.errors import QueryError

MACRO = "item_answers"
TABLE = "loaded_answers"
"""Name of the table that the macro reads."""
ARGUMENTS = ("of_task", "of_split", "of_language", "of_variant")


@dataclass(frozen=True)
class AnswerCall:
    """Arguments of one call."""

    task: str
    split: str = "test"
    language: str | None = None
    variant: str | None = None
    """Id or label of a variant, or `dense`; None for all."""


def answer_calls(tree: str, parameters: Mapping[str, Value]) -> list[AnswerCall]:
    """Find all calls in the syntax tree of a statement.

    Args:
        tree: as JSON, by DuckDB's `json_serialize_sql`.
        parameters: values of the statement's parameters.
    Raises:
        QueryError: an argument is unknown, or neither a text, NULL nor a parameter.
    """
    calls = []
    for node in _calls(json.loads(tree)):
        values: dict[str, str | None] = {}
        for name, argument in zip(ARGUMENTS, node["arguments"], strict=False):
            values[argument["name"] or name] = _value(argument["expression"], parameters)
        if unknown := sorted(values.keys() - set(ARGUMENTS)) or len(node["arguments"]) > len(ARGUMENTS):
            raise QueryError(f"an argument of {MACRO} is unknown", expected=list(ARGUMENTS), got=unknown)
        task, split = values.get("of_task"), values.get("of_split", "test")
        if task is None or split is None:
            raise QueryError(f"{MACRO} needs a task and a split", expected=f"{MACRO}('facts', of_split := 'test')")
        calls.append(AnswerCall(task, split, values.get("of_language"), values.get("of_variant")))
    return calls


def _calls(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the nodes of the macro's calls, in the order of the text."""
    if isinstance(node, Mapping):
        if node.get("function_name") == MACRO:
            yield node
        for child in node.values():
            yield from _calls(child)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for child in node:
            yield from _calls(child)


def _value(expression: Mapping[str, Any], parameters: Mapping[str, Value]) -> str | None:
    """Return the value of an argument."""
    kind = expression["class"]
    if kind == "CAST":
        return _value(expression["child"], parameters)
    if kind == "PARAMETER":
        value = parameters.get(expression["identifier"])
        return None if value is None else str(value)
    if kind == "CONSTANT":
        literal = expression.get("literal") or expression["value"]
        if literal.get("kind") == "NULL_LITERAL" or literal.get("is_null"):
            return None
        return str(literal["text"] if "text" in literal else literal["value"])
    raise QueryError(f"an argument of {MACRO} has to be a text, NULL or a parameter", got=kind.lower())
