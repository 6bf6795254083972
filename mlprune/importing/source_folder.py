"""The folder of a source: the folder itself, or for a single GGUF file a folder that has only this file."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlprune.errors import ModelError


@contextmanager
def source_folder(source: Path) -> Iterator[Path]:
    """Yield the folder of a source.

    Args:
        source: folder, or GGUF file. Files next to a GGUF file may belong to other models and are not read.
    Raises:
        ModelError: it is neither.
    """
    if source.is_file() and source.suffix == ".gguf":
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, source.name).symlink_to(source.absolute())
            yield Path(folder)
        return
    if not source.is_dir():
        got = "a file" if source.exists() else "nothing"
        message = "the source of an import is not a folder"
        raise ModelError(message, path=str(source), expected="a model folder or a .gguf file", got=got)
    yield source
