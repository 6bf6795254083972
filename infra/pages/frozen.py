"""Frozen stores for the documentation: archives with the records, run files and demonstrations of finished runs.

A catalog needs nothing else, so an unpacked store answers every query like the original. Of the predictions and items
it has those that the cookbook reads. Export, verify and further runs need other artefacts and are not possible.
"""

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from catalog.store import Catalog
from mlprune.store.store import Store

FOLDER = Path(__file__).parents[2] / "docs" / "stores"
PREFIXES = ("records/", "runs/", "demonstrations/")
READ_BY_COOKBOOK = """
    SELECT DISTINCT f.path
    FROM evaluations AS e
    JOIN described_variants AS v ON v.variant_id = e.variant_id
    JOIN artefacts AS f ON f.id IN (e.evaluation_id, e.items_id)
    ANTI JOIN outdone_evaluations AS o ON o.evaluation_id = e.evaluation_id
    WHERE e.task = 'facts' AND e.split = 'test' AND e.language IN ('en', 'sw') AND e.profile = 'corrected'
        AND (v.is_dense OR v.label = 'wanda sw-en 0.4')
    ORDER BY f.path
"""
"""Files that calls of `item_answers` in the cookbook read."""


def archive_of(name: str) -> Path:
    """Return the path of the archive of a frozen store."""
    return FOLDER / f"{name}.tar.xz"


def freeze(store: Path, archive: Path) -> None:
    """Archive these files of a store in a fixed order. Paths of models are reduced to their names."""
    paths = [path for prefix in PREFIXES for path in sorted((store / prefix).rglob("*")) if path.is_file()]
    with Catalog.in_memory(Store(store)) as catalog:
        read = [store / str(row["path"]) for row in catalog.query(READ_BY_COOKBOOK)]
    paths += [path for path in read if path.is_file()]
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in paths:
            data = path.read_bytes() if path.name != "run.json" else _without_folders(path.read_bytes())
            entry = tarfile.TarInfo(path.relative_to(store).as_posix())
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))


def thaw(archive: Path, folder: Path) -> Store:
    """Unpack a frozen store into a folder."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return Store(folder)


@contextmanager
def thawed(name: str) -> Iterator[Store]:
    """Unpack a frozen store into a temporary folder, which is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield thaw(archive_of(name), Path(folder))


def _without_folders(run_file: bytes) -> bytes:
    run = json.loads(run_file)
    run["models"] = {model_id: PurePath(path).name for model_id, path in run.get("models", {}).items()}
    return json.dumps(run, indent=1).encode()
