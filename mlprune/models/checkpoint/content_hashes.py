"""Hashes of the files that determine a model, and advice on models that have to be imported first."""

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.given_files import open_given

MODEL_FOLDER = "models"
"""Folder that an example of a command names."""
TOKENIZER_JSON = "tokenizer.json"
SENTENCEPIECE_FILES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
TOKENIZER_FILES = (
    TOKENIZER_JSON,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    *SENTENCEPIECE_FILES,
)
"""Files that determine how text is tokenised. A model folder has some of them."""


def import_command(source: str) -> str:
    """Return the command that imports a model.

    Args:
        source: id on the hub, or folder.
    """
    name = Path(source).name
    target = f"{source.rstrip('/')}-imported" if Path(source).exists() else f"{MODEL_FOLDER}/{name}"
    return f"mlprune import {shlex.quote(source)} --out {shlex.quote(target)}"


def import_advice(source: str, *, revision: str = "main") -> str:
    """Return what to do about a model without weights that are read here.

    Args:
        source: id on the hub, or folder.
        revision: branch, tag or commit of a hub id.
    """
    command = import_command(source) + (f" --revision {shlex.quote(revision)}" if revision != "main" else "")
    return f"{command}, then name that folder in the recipe; or add import: true and run with --allow-import"


def content_hashes(
    path: Path, weight_file_names: Iterable[str], *, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return file name -> SHA-256 of the files that determine the model in a folder, sorted.

    Args:
        known: name -> SHA-256 of files that were hashed already.
    Raises:
        ModelError: a file cannot be read.
    """
    hashes = dict(known or {})
    tokenizer = [name for name in TOKENIZER_FILES if (path / name).exists()]
    names = sorted({"config.json", *tokenizer, *weight_file_names})
    return {name: hashes.get(name) or file_sha256(path / name) for name in names}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, cached while its size and modification time do not change.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        status = path.stat()
        return _sha256(str(path.resolve()), status.st_size, status.st_mtime_ns)
    except OSError as err:
        raise ModelError("a file of a model cannot be read", path=str(path), reason=err.strerror) from err


@cache
def _sha256(path: str, _size: int, _mtime_ns: int) -> str:
    with open_given(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
