"""Checkpoints that were made elsewhere and that a recipe names: their folder, files and origin."""

from collections.abc import Iterator
from pathlib import Path

from mlprune.errors import BadInputError
from mlprune.hashing import digest
from mlprune.hub import snapshot_origin
from mlprune.json_values import JsonValue
from mlprune.models.architecture.units import KEPT_FILE, LOADER_FILE
from mlprune.models.checkpoint.content_hashes import file_sha256
from mlprune.models.import_record import read_import_record
from mlprune.models.loading import inspect_model, inspect_narrowed, resolve_model
from mlprune.recipe.models import Recipe


def checkpoint_folder(recipe: Recipe, name: str) -> Path:
    """Return the folder of a checkpoint.

    Args:
        name: folder, or id on the hub with an optional `@REVISION`.
    """
    local = recipe.resolve(name)
    hub_id, _, revision = name.partition("@")
    return (resolve_model(str(local)) if local.exists() else resolve_model(hub_id, revision or "main")).absolute()


def checkpoint_content(folder: Path) -> dict[str, str]:
    """Check the weight files of a pruned checkpoint against its config, and return name -> SHA-256 of its files.

    Raises:
        ModelError: the checkpoint is not a model that can be read.
    """
    content = dict(inspect_narrowed(folder) if (folder / LOADER_FILE).exists() else inspect_model(folder).content)
    stated = [name for name in (LOADER_FILE, KEPT_FILE) if (folder / name).exists()]
    return content | {name: file_sha256(folder / name) for name in stated}


def require_unchanged(folder: Path, content: str) -> None:
    """Check that a checkpoint is as it was planned.

    Args:
        content: hash of its files.
    Raises:
        BadInputError: it has changed.
    """
    if digest(checkpoint_content(folder)) != content:
        raise BadInputError("the adopted checkpoint has changed", path=str(folder), next="run the command again")


def origin_of(folder: Path) -> Iterator[tuple[str, JsonValue]]:
    """Yield the name of a checkpoint and, for one of the hub, its commit."""
    snapshot, record = snapshot_origin(folder), read_import_record(folder)
    if snapshot is not None:
        yield from zip(("source", "commit"), snapshot, strict=True)
    elif record is not None:
        yield "source", record.source
        if record.origin is not None:
            yield "commit", record.origin.commit
    else:
        yield "source", folder.name
