"""Apply a published variant to its base model: the folder of the pruned model, with the tensors that an export has."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError

from mlprune.atomic import remove_left_over, replacing
from mlprune.capabilities.publishing.apply_published import write
from mlprune.capabilities.publishing.export import require_free
from mlprune.capabilities.publishing.publish import CARD, INDEX, MANIFEST
from mlprune.capabilities.publishing.tensor_changes import CHANGED, FORMAT, MASKS
from mlprune.errors import BadInputError, PermanentError, StoreError, reason_of
from mlprune.given_files import read_given, require_given, require_regular
from mlprune.json_values import JsonObject, as_list, as_object, as_str, parse_json
from mlprune.models.checkpoint.content_hashes import file_sha256
from mlprune.models.checkpoint.tensor_hashes import tensor_hashes, write_hashes
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.loading import resolve_model

APPLIED_ENDINGS = (".json", ".jinja", ".txt", ".model", ".safetensors")
"""Endings of the files of a base model that are read or copied."""


class Manifest(NamedTuple):
    """What a published folder says of its base model and of the result."""

    revision: str | None
    """Commit of the base model on a hub."""
    files: Mapping[str, str]
    """Config and tokenizer files of the base model -> SHA-256."""
    tensors: Mapping[str, str]
    """Tensors of the result -> SHA-256."""


def apply_published(base: str, published: Path, out: Path) -> None:
    """Write the model of a published variant. The folder appears completely or not at all.

    Args:
        base: folder or hub id of the base model; of a hub, the revision that the published variant names.
        published: folder of one published variant.
        out: folder to make; it may exist if it is empty.
    Raises:
        StoreError: `out` is not empty or cannot be written.
        BadInputError: the published folder is not one, it is damaged, or the base model is another one; the message
            names the first tensor or file that differs.
        ModelError: the base model is not a folder and not in reach on a hub.
        PermanentError: the written tensors differ from the published hashes.
    """
    manifest = read_manifest(published)
    model_path = resolve_model(base, manifest.revision or "main")
    WeightFiles(model_path, architecture_at(model_path))  # the errors of its index and its config say what is missing
    with _errors_of_files():
        for file in model_path.iterdir():
            if file.suffix in APPLIED_ENDINGS:
                require_regular(file)
    target = out.expanduser().resolve()
    require_free(target)
    try:
        remove_left_over(target)
        with replacing(target) as temporary:
            _write(model_path, published, temporary)
            for name, sha256 in manifest.files.items():
                _require_file(model_path / name, sha256)
            written = tensor_hashes(temporary)
            for name, sha256 in manifest.tensors.items():
                if written[name].sha256 != sha256:
                    raise PermanentError("a written tensor differs from the published hash", tensor=name)
            write_hashes(temporary, written)
    except OSError as err:
        raise StoreError("the model cannot be written", path=str(out), reason=err.strerror or str(err)) from err


def read_manifest(published: Path) -> Manifest:
    """Read and check `published.json`.

    Raises:
        BadInputError: the folder is not that of one published variant, or the file has another content.
    """
    path = published / MANIFEST
    with _errors_of_files():
        require_given(published, (MANIFEST, CARD, INDEX, MASKS, CHANGED))
    if missing := [name for name in (MANIFEST, CARD) if not (published / name).exists()]:
        folders = _folders_of_index(published)
        expected = f"one of its folders: {', '.join(folders)}" if folders else f"a folder with {missing[0]}"
        raise BadInputError("not the folder of a published variant", path=str(published), expected=expected)
    try:
        value = as_object(parse_json(read_given(path)))
        if value["format"] != FORMAT:
            raise BadInputError("another format", path=str(path), expected=FORMAT, got=value["format"])
        base, tensors = as_object(value["base_model"]), as_object(value["tensors"])
        files = {_plain(name): as_str(sha256) for name, sha256 in as_object(base["files"]).items()}
        results = {name: _result(as_object(entry)) for name, entry in tensors.items()}
        return Manifest(None if base["revision"] is None else as_str(base["revision"]), files, results)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise BadInputError("a published variant cannot be read", path=str(path), reason=reason_of(err)) from err


@contextmanager
def _errors_of_files() -> Iterator[None]:
    """Convert the error of a file that is something else, or a link that leads out of its folder."""
    try:
        yield
    except OSError as err:
        message = "a file cannot be used"
        raise BadInputError(message, path=err.filename, expected="a regular file", reason=err.strerror) from err


def _folders_of_index(published: Path) -> list[str]:
    try:
        index = as_object(parse_json(read_given(published / INDEX)))
        return [as_str(as_object(entry)["folder"]) for entry in as_list(index["variants"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _result(tensor: JsonObject) -> str:
    return as_str(tensor.get("sha256", tensor["base_sha256"]))


def _plain(name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"not the name of a file: {name}")
    return name


def _write(model_path: Path, published: Path, temporary: Path) -> None:
    """Run the loader that published folders have.

    Raises:
        BadInputError: it refuses.
        OSError: the folder cannot be written.
    """
    try:
        write(model_path, temporary, published)
    except (ValueError, TypeError, RuntimeError, AttributeError, LookupError, SafetensorError) as err:
        reason = str(err) if type(err) is ValueError else reason_of(err)
        context = {"base": str(model_path), "published": str(published), "reason": reason}
        raise BadInputError("the published variant cannot be applied", context) from err


def _require_file(path: Path, sha256: str) -> None:
    """Raise BadInputError if a config or tokenizer file is missing or differs."""
    got = file_sha256(path) if path.exists() else None
    if got != sha256:
        message = "another base model: a file differs from the published one"
        raise BadInputError(message, path=str(path), expected=sha256, got=got)
