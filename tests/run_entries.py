"""Entries of the logs of runs, in files of their own or in packs."""

from pathlib import Path
from typing import Any

from mlprune.store.run_log_files import kind_of, numbers_of, read_run_file, run_files
from mlprune.store.store import Store


def entries(store: Store | Path, kind: str) -> list[dict[str, Any]]:
    """Contents of all entries of a kind such as job, failure or pool, by folder and in the order of their numbers."""
    return [content for _, content in named_entries(store, kind)]


def named_entries(store: Store | Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """(path, content) of the same entries; each path counts once."""
    opened = store if isinstance(store, Store) else Store(store)
    files = run_files(opened)
    read = [entry for path in (*files.single, *files.packs) for entry in read_run_file(opened, path)]
    found = [entry for entry in read if kind_of(entry[0]) == kind]
    assert len({path for path, _ in found}) == len(found)
    return sorted(found, key=lambda entry: (entry[0].split("/")[1], *(numbers_of(entry[0]) or ())))
