"""Weight files of a folder by their names: a single file, or several files with an index."""

from collections.abc import Sequence
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import read_json_object

LFS_POINTER = b"version https://git-lfs"


def indexed_files(folder: Path, single: str, index: str) -> tuple[str, ...]:
    """Return the names of the weight files of a folder, with the index first; empty if the folder has neither.

    Args:
        single: name of the file if there is one, such as `pytorch_model.bin`.
        index: name of the index if there are several.
    Raises:
        ModelError: the index is damaged, names a file outside the folder, or names a missing file.
    """
    if not (folder / index).exists():
        files = [single] if (folder / single).is_file() else []
        _check_downloaded(folder, files)
        return tuple(files)
    files = sorted(set(weight_map(folder / index).values()))
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        message = "files that a weight index names are missing; get them and import again"
        raise ModelError(message, path=str(folder / index), missing=missing, n_expected=len(files))
    _check_downloaded(folder, files)
    return (index, *files)


def _check_downloaded(folder: Path, files: Sequence[str]) -> None:
    """Refuse the small text files that stand for large files in a clone without Git LFS."""
    for name in files:
        with (folder / name).open("rb") as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                message = "a weight file is only a pointer of Git LFS: run git lfs pull, or download the file"
                raise ModelError(message, path=str(folder / name))


def weight_map(index: Path) -> dict[str, str]:
    """Return tensor -> name of its file, from an index.

    Raises:
        ModelError: it cannot be read, or an entry is not the name of a file directly in the folder.
    """
    entries = read_json_object(index).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        got = "no entries" if entries == {} else type(entries).__name__
        raise ModelError("a weight index has no weight_map", path=str(index), expected="tensor -> file", got=got)
    files: dict[str, str] = {}
    for tensor, file in entries.items():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", "..") or "\0" in file:
            message = "a weight index names a file that is not directly in its folder"
            raise ModelError(message, path=str(index), tensor=tensor, got=file)
        files[tensor] = file
    return files
