"""Random damage of a store: flipped bytes, shortened, missing and swapped files, folders in place of files."""

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from mlprune.store.record_kinds import ARTEFACT_FOLDERS

Damage = Callable[[Path, Path], None]


def flip(file: Path, _other: Path) -> None:
    """Change one bit in the middle of a file; its size stays."""
    data = bytearray(file.read_bytes())
    if data:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)


def shorten(file: Path, _other: Path) -> None:
    """Keep the first half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def remove(file: Path, _other: Path) -> None:
    """Delete a file."""
    file.unlink()


def swap(file: Path, other: Path) -> None:
    """Exchange the contents of two files."""
    first, second = file.read_bytes(), other.read_bytes()
    file.write_bytes(second)
    other.write_bytes(first)


def put_folder(file: Path, _other: Path) -> None:
    """Put a folder in place of a file."""
    file.unlink()
    file.mkdir()


DAMAGES: Mapping[str, Damage] = {
    "flip": flip,
    "shorten": shorten,
    "remove": remove,
    "swap": swap,
    "folder": put_folder,
}


def damage_store(store: Path, rng: random.Random) -> str:
    """Damage one random record or artefact, or the catalog; return what was done, or an empty text without a file."""
    folders = [store / folder for folder in ("records", *ARTEFACT_FOLDERS)]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    if not files:
        return ""
    if rng.random() < 0.1 and (store / "catalog.duckdb").is_file():
        shorten(store / "catalog.duckdb", files[0])
        return "shorten catalog.duckdb"
    name = rng.choice(sorted(DAMAGES))
    file, other = rng.choice(files), rng.choice(files)
    DAMAGES[name](file, other)
    return f"{name} {file.relative_to(store)}"


def fresh_copy(source: Path, target: Path) -> None:
    """Copy a store or folder, replacing an older copy."""
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)
