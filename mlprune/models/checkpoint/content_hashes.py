"""Hashes of the files that determine a model: config, tokenizer and weights."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.given_files import open_given

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
