"""Completion of arguments in a shell: names of queries, stores, and the variants of a local store.

A completion runs at every press of Tab, so it loads no catalog and no model, and asks no object store.
"""

from collections.abc import Iterator
from pathlib import Path

import typer

MAX_RECIPES = 50
"""Most recipes of a store whose names are read: the first ones in the order of their ids."""


def complete_query(incomplete: str) -> list[tuple[str, str]]:
    """Return the built-in queries that begin so, with their summaries."""
    from catalog.named_queries import list_queries  # noqa: PLC0415 - other commands need not load it

    return [(query.name, query.summary) for query in list_queries() if query.name.startswith(incomplete)]


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
    """Return the names of variants that begin so, of the store on the command line or of all stores in this folder."""
    given = ctx.params.get("store")
    if isinstance(given, str) and "://" in given:
        return []
    stores = [Path(given)] if isinstance(given, str) else [folder for folder in _folders(Path()) if is_store(folder)]
    names = dict.fromkeys(name for store in stores if is_store(store) for name in _variant_names(store))
    return sorted(name for name in names if name.startswith(incomplete))


def _variant_names(folder: Path) -> Iterator[str]:
    """Yield the names that the recipes of a store give to variants."""
    from mlprune.store.store import Store  # noqa: PLC0415 - loads pyarrow

    store = Store(folder)
    keys = store.record_names("recipes")[:MAX_RECIPES]
    for record in store.read_records(keys).values():
        for row in record.rows.get("names", ()):
            if row["kind"] == "variant":
                yield str(row["name"])
