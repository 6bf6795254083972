"""Comparison of a store with an undisturbed one: records, artefacts, tables and the result of the check."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from catalog.check import check
from catalog.store import Catalog
from mlprune.store.records import one_line
from mlprune.store.store import Store

ONLY_TO_RESUME = "records/mask_blocks/"
"""Records that only an unfinished sweep reads. Nothing says that one was deleted, and a finished sweep needs none."""
ABOUT_RECORDS = ("records", "record_parents", "artefacts")
"""Tables with rows about every record."""


def results(store: Path) -> dict[str, bytes]:
    """Return all records and artefacts; a compacted record counts as the file that it was, and a marker has no time."""
    opened = Store(store)
    no_results = ("runs/", "claims/", "quarantine/", "catalog.")
    names = [path for path in opened.list("") if not path.startswith(no_results) and "/segments/" not in path]
    files = {path: (store / path).read_bytes() for path in names}
    files |= {path: b"" for path in files if path.startswith("retired/")}
    compacted = {record.path: record.to_line().encode() for record in opened.records()}
    return compacted | {path: one_line(data) if path.startswith("records/") else data for path, data in files.items()}


def differences(store: Path, undisturbed: Path) -> Iterator[str]:
    """Yield the differences of a store from the undisturbed one."""
    actual, (expected, expected_tables) = results(store), _expected(undisturbed)
    lost = sorted(expected.keys() - actual.keys())
    yield from (f"lost: {path}" for path in lost if not path.startswith(ONLY_TO_RESUME))
    yield from (f"unexpected: {path}" for path in sorted(actual.keys() - expected.keys()))
    yield from (
        f"different: {path}" for path in sorted(actual.keys() & expected.keys()) if actual[path] != expected[path]
    )
    damages, notes = check(Store(store))
    yield from (f"damaged: {damage}" for damage in damages)
    yield from (f"unreferenced: {path}" for path in notes)
    tables = fingerprints(store)
    incomplete = ABOUT_RECORDS if any(path.startswith(ONLY_TO_RESUME) for path in lost) else ()
    different = [name for name in sorted(expected_tables) if tables.get(name) != expected_tables[name]]
    yield from (f"table: {name}" for name in different if name not in incomplete)


@cache
def _expected(undisturbed: Path) -> tuple[dict[str, bytes], dict[str, tuple[int, int]]]:
    return results(undisturbed), fingerprints(undisturbed)


def fingerprints(store: Path) -> dict[str, tuple[int, int]]:
    """Return table -> (rows, fingerprint), without the tables of runs."""
    with Catalog.open(Store(store)) as catalog:
        catalog.fold()
        return {name: value for name, value in catalog.fingerprints().items() if name not in ("jobs", "failures")}
