"""The folder of a source: the folder itself, or for a single GGUF file a folder that has only this file."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.given_files import require_given


@contextmanager
def errors_about(folder: Path, *, in_place_of: Path) -> Iterator[None]:
    """Let errors name a folder of the user in place of a temporary one, which is removed before they are read."""
    try:
        yield
    except ModelError as err:
        context = {
            key: value.replace(str(in_place_of), str(folder)) if isinstance(value, str) else value
            for key, value in err.context.items()
        }
        raise ModelError(err.message, context) from err


@contextmanager
def source_folder(source: Path) -> Iterator[Path]:
    """Yield the folder of a source.

    Args:
        source: folder, or GGUF file. Files next to a GGUF file may belong to other models and are not read.
    Raises:
        ModelError: it is neither, or the folder has a pipe, a device, or a link that leads out of it.
    """
    if source.is_file() and source.suffix == ".gguf":
        with tempfile.TemporaryDirectory() as folder, errors_about(source.parent, in_place_of=Path(folder)):
            Path(folder, source.name).symlink_to(source.absolute())
            yield Path(folder)
        return
    if not source.is_dir():
        got = "a file" if source.exists() else "nothing"
        message = "the source of an import is not a folder"
        raise ModelError(message, path=str(source), expected="a model folder or a .gguf file", got=got)
    try:
        require_given(source, sorted(path.name for path in source.iterdir() if not path.is_dir()))
    except OSError as err:
        message = "a file of the source cannot be imported"
        raise ModelError(message, path=str(err.filename or source), reason=err.strerror) from err
    yield source
