"""Words that a shell offers at Tab: queries and their parameters, formats, figures, stores, and values of a store.

A completion runs at every press of Tab, so it loads no model, folds nothing and asks no object store. An error gives no
completions.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from catalog.sql_files import list_queries, listed_views
from mlprune.store.store import Store

if TYPE_CHECKING:
    from catalog.store.known_values import ValueKind

COMPLETION_VARIABLE = "_MLPRUNE_COMPLETE"
"""Variable of the environment with which a shell asks for completions."""
MAX_RECIPES = 50
"""Most recipes of a store whose names are read: the first ones in the order of their ids."""


def complete_query(incomplete: str) -> list[tuple[str, str]]:
    """Return the built-in queries that begin so, with their summaries."""
    return [(query.name, query.summary) for query in list_queries() if query.name.startswith(incomplete)]


def complete_described(incomplete: str) -> list[tuple[str, str]]:
    """Return the built-in queries and the views that begin so, with their summaries."""
    views = [(name, text) for name, text in listed_views().items() if name.startswith(incomplete)]
    return complete_query(incomplete) + views


def complete_parameter(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the parameters, as `NAME=` with type and default, of the query on the command line that begin so."""
    words = [ctx.params.get("sql_or_name"), *ctx.args]  # an option without its value leaves the name in ctx.args
    named = next((query for query in list_queries() if query.name in words), None)
    parameters = named.parameters if named else ()
    return [(f"{one.name}=", str(one)) for one in parameters if one.name.startswith(incomplete)]


def complete_figure(incomplete: str) -> list[tuple[str, str]]:
    """Return the figures that begin so, with their titles."""
    from catalog.report.figures import FIGURES  # noqa: PLC0415 - loads matplotlib

    return [(one.anchor, one.title) for one in FIGURES if one.anchor.startswith(incomplete)]


def complete_one_of(*words: str) -> Callable[[str], list[str]]:
    """Return a function that returns those of some words that begin as a text does."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def complete_store(incomplete: str) -> list[str]:
    """Return the folders that begin so: stores, or if there is none, folders in which stores may be."""
    start = Path(incomplete)
    parent = start if incomplete.endswith("/") or not incomplete else start.parent
    prefix = "" if parent == start else start.name
    folders = sorted(entry for entry in _folders(parent) if entry.name.startswith(prefix))
    found = [entry for entry in folders if is_store(entry)]
    return [
        f"{'' if str(parent) == '.' and not incomplete.startswith('.') else _shown(parent)}{entry.name}/"
        for entry in found or folders
    ]


def _shown(parent: Path) -> str:
    return "/" if str(parent) == "/" else f"{parent}/"


def _folders(parent: Path) -> Iterator[Path]:
    try:
        yield from (entry for entry in parent.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return


def is_store(folder: Path) -> bool:
    """Return whether a folder has the records of a store."""
    return (folder / "records").is_dir()


def complete_variant(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the labels and names of variants that begin so."""
    return _stored_values(ctx, "variant", incomplete)


def complete_task(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tasks with evaluations that begin so."""
    return _stored_values(ctx, "task", incomplete)


def complete_language(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the languages and language pairs with evaluations that begin so."""
    return _stored_values(ctx, "language", incomplete)


def _stored_values(ctx: typer.Context, kind: "ValueKind", incomplete: str) -> list[str]:
    """Return values of the store of the command line or of MLPRUNE_STORE, or of all stores in the current folder."""
    given = ctx.params.get("store")
    if isinstance(given, str) and "://" in given:
        return []
    values: set[str] = set()
    with suppress(Exception):
        stores = [Path(given)] if isinstance(given, str) else _folders(Path())
        for store in filter(is_store, stores):
            values.update(_values_of(store, kind, incomplete))
    return shell_words(sorted(values))


def _values_of(folder: Path, kind: "ValueKind", beginning: str) -> Iterable[str]:
    """Return values from the catalog; without one that can be read, the names that recipes give to variants."""
    from catalog.store.known_values import known_values  # noqa: PLC0415 - loads DuckDB

    with suppress(Exception):
        if values := known_values(folder, kind, beginning):
            return values
    return [name for name in _variant_names(folder) if name.startswith(beginning)] if kind == "variant" else []


def _variant_names(folder: Path) -> Iterator[str]:
    """Yield the names that the recipes of a store give to variants."""
    store = Store(folder)
    keys = store.record_names("recipes")[:MAX_RECIPES]
    for record in store.read_records(keys).values():
        for row in record.rows.get("names", ()):
            if row["kind"] == "variant":
                yield str(row["name"])


class BashWord(str):
    """A value that bash inserts as it is, so that spaces need a backslash.

    It begins as the value does: typer compares it with what was typed, without quotes and backslashes.
    """

    __slots__ = ("_value",)
    _value: str

    def __new__(cls, value: str) -> "BashWord":
        """Make the word of a value."""
        word = super().__new__(cls, re.sub(r"([^\w@%+=:,./-])", r"\\\1", value))
        word._value = value
        return word

    def startswith(self, *arguments: Any) -> bool:
        """Return whether the value begins so; see `str.startswith`."""
        return self._value.startswith(*arguments)


def shell_words(values: Iterable[str]) -> list[str]:
    """Return values as words of the shell that asks; within quotes that are open, and in other shells, as they are."""
    if os.environ.get(COMPLETION_VARIABLE) != "complete_bash":
        return list(values)
    try:
        shlex.split(os.environ.get("COMP_WORDS", ""))
    except ValueError:  # a quote is open
        return list(values)
    return [BashWord(value) for value in values]
