"""Stores frozen for the documentation: records, run files and demonstrations of finished runs, one archive each.

A catalog is folded from nothing else, so every question to it has the answer it had in the store itself. What needs
other artefacts (predictions, export, verify, another run) is not possible with a thawed store.
"""

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from mlprune.store.store import Store

FOLDER = Path(__file__).parents[2] / "docs" / "stores"
KEPT = ("records/", "runs/", "demonstrations/")


def archive_of(name: str) -> Path:
    """Where the frozen store of a name lies."""
    return FOLDER / f"{name}.tar.xz"


def freeze(store: Path, archive: Path) -> None:
    """Write these files of a store in one fixed order; of a model's folder only the name is kept."""
    paths = [path for kept in KEPT for path in sorted((store / kept).rglob("*")) if path.is_file()]
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
    """A frozen store in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield thaw(archive_of(name), Path(folder))


def _without_folders(run_file: bytes) -> bytes:
    run = json.loads(run_file)
    run["models"] = {model_id: PurePath(path).name for model_id, path in run.get("models", {}).items()}
    return json.dumps(run, indent=1).encode()
