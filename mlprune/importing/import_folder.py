"""Folders of an import: the source, the one it writes to, room on the disk, and its record.

The record of an import, `mlprune_import.json`: where the files of a model folder come from.

It is provenance: ids of base models do not depend on it.
"""

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from glob import escape
from pathlib import Path

from mlprune.atomic import UNFINISHED, flush
from mlprune.errors import ModelError
from mlprune.given_files import require_given
from mlprune.models.checkpoint.weight_files import read_json_object
from mlprune.vocabulary import DtypeName

IMPORT_FILE = "mlprune_import.json"
RESERVE_BYTES = 2**26
"""Free space that is left on the disk."""
WAIT_S = 5.0
"""How long to wait for a killed import whose child process has not ended yet."""


@dataclass(frozen=True)
class Origin:
    """A repository on a hub."""

    hub_id: str
    """Such as `facebook/xglm-564M`."""
    revision: str
    """The requested branch, tag or commit."""
    commit: str
    """The commit of the revision when it was imported."""


@dataclass(frozen=True)
class SourceFile:
    """A file of a source."""

    sha256: str
    n_bytes: int


@dataclass(frozen=True)
class ImportRecord:
    """The contents of `mlprune_import.json`."""

    mlprune: str
    """Version of mlprune that imported the model."""
    torch: str
    """Version of torch that read the files."""
    weight_format: str
    """Format of the source."""
    source: str
    """Id on the hub, or name of the folder."""
    origin: Origin | None
    """Where the source was downloaded from; None for a folder."""
    dtype: DtypeName | None
    """The requested dtype; None if every tensor kept its own."""
    files: Mapping[str, SourceFile]
    """Name -> file of the source: weights and their index, config, tokenizer."""
    dropped: tuple[str, ...]
    """Tensors of the source that the model does not read."""
    renamed: Mapping[str, str]
    """Name in the source -> name in the model."""
    shared: Mapping[str, str]
    """Parameter without values of its own -> the parameter that has its values."""
    quantization: str | None = None
    """Types of the dequantised tensors, with the number of tensors of each; None if the source is not quantised."""
    part_of: str | None = None
    """Model type of the multimodal checkpoint whose text part this is; None for a whole model."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Other part of the multimodal checkpoint -> number of its tensors."""

    def write(self, folder: Path) -> None:
        """Write the record to a model folder."""
        (folder / IMPORT_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read_import_record(folder: Path) -> ImportRecord | None:
    """Return the record of an imported model folder; None if the folder was not imported.

    Raises:
        ModelError: the record is damaged.
    """
    path = folder / IMPORT_FILE
    if not path.exists():
        return None
    values = dict(read_json_object(path))
    try:
        origin, files = values.pop("origin"), values.pop("files")
        return ImportRecord(
            **{**values, "dropped": tuple(values["dropped"])},  # type: ignore[arg-type]
            origin=None if origin is None else Origin(**origin),  # type: ignore[arg-type]
            files={name: SourceFile(**file) for name, file in files.items()},  # type: ignore[union-attr,arg-type]
        )
    except (TypeError, KeyError, AttributeError) as err:
        raise ModelError("the record of an import is damaged", path=str(path), reason=str(err)) from err


def require_space(folder: Path, n_bytes: int, *, purpose: str) -> None:
    """Check that the disk of a folder has room for some bytes.

    Args:
        folder: it exists.
        purpose: what the bytes are for, for the message.
    Raises:
        ModelError: the disk is too small.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes + RESERVE_BYTES > free:
        expected, got = f"{(n_bytes + RESERVE_BYTES) / 1e9:.2f} GB", f"{free / 1e9:.2f} GB free"
        raise ModelError(f"the disk is too small for the {purpose}", path=str(folder), expected=expected, got=got)


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


@dataclass(frozen=True)
class Staging:
    """A folder that is being written."""

    path: Path
    lock: int
    """File descriptor that locks the folder; a child process that writes to the folder inherits it."""


@contextmanager
def staging_folder(target: Path) -> Iterator[Staging]:
    """Yield a new folder next to the target. At the end of the block its files are flushed and it gets its name.

    The folder is locked while a process writes to it. Folders of killed imports, which are not locked any more, are
    removed first. If the block raises, the folder is removed.

    Raises:
        ModelError: another import writes the same target, or the target is not empty at the end.
        OSError: the folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    folder = target.with_name(f"{target.name}{UNFINISHED}{uuid.uuid4().hex[:8]}")
    folder.mkdir()
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Staging(folder, lock)
        for path in sorted(folder.iterdir()):
            flush(path)
        os.fsync(lock)
        _rename(folder, target)
        flush(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as err:
        if err.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        message = "another program wrote the folder of the import meanwhile; run the same command again"
        raise ModelError(message, path=str(target)) from err


def remove_abandoned(target: Path) -> None:
    """Remove the folders of killed imports to the same target.

    Raises:
        ModelError: another import writes one of them.
    """
    for folder in sorted(target.parent.glob(f"{escape(target.name)}{UNFINISHED}*")):
        deadline = time.monotonic() + WAIT_S
        while not _removed_if_unlocked(folder):
            if time.monotonic() > deadline:
                raise ModelError("another import writes this folder; wait until it has ended", path=str(target))
            time.sleep(0.1)


def _removed_if_unlocked(folder: Path) -> bool:
    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(lock)
