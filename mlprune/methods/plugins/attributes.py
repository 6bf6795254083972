"""Checks of the attributes that a plug-in declares."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import NamedTuple, get_args

from mlprune.methods.method import Method, Schedule, Score, StatisticsName, Structure
from mlprune.methods.parameters import Parameters

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


class Problem(NamedTuple):
    """An attribute that is wrong."""

    attribute: str
    expected: str
    got: object


def attribute_problems(plugin: Method) -> Iterator[Problem]:
    """Yield what is wrong with the attributes of a plug-in."""
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield Problem("name", "a letter, then letters, digits, _, . and -", name)
    if not callable(getattr(plugin, "function", None)):
        yield Problem("function", "a function", getattr(plugin, "function", None))
    for attribute in ("summary", "citation", "formula"):
        value = getattr(plugin, attribute, None)
        if not isinstance(value, str) and (value is not None or attribute == "summary"):
            yield Problem(attribute, "a text", value)
    known = get_args(StatisticsName)
    needs = getattr(plugin, "needs", ())
    if not isinstance(needs, tuple) or not all(one in known for one in needs):
        yield Problem("needs", f"a tuple of {', '.join(known)}", needs)
    yield from _parameter_problems(plugin.parameters)
    if isinstance(plugin, Schedule) and (needs or plugin.reads_losses):
        yield Problem("needs", "nothing: a schedule plug-in reads the sizes of layers", needs or "reads_losses=True")
    if isinstance(plugin, Structure) and plugin.of_model:
        yield Problem("of_model", "False: a structure plug-in gets the scores of one layer", True)
    if isinstance(plugin, Score) and (plugin.changes_weights or plugin.has_contrast):
        got = "changes_weights" if plugin.changes_weights else "has_contrast"
        yield Problem(got, "False: a score orders weights; a RefinerPlugin can change them", True)


def _parameter_problems(kind: object) -> Iterator[Problem]:
    if not isinstance(kind, type) or not issubclass(kind, Parameters) or not is_dataclass(kind):
        yield Problem("parameters", "a frozen dataclass that is a subclass of Parameters", kind)
        return
    for field in fields(kind):
        if field.default is MISSING or "bounds" not in field.metadata:
            yield Problem("parameters", "fields that are declared with parameter(default, meaning)", field.name)
