"""Requirements of a run on every node: files of models, and plug-ins. Loads no tensor library.

Check that a machine has the files of models as the driver has them.

Files of a hub model that are missing are downloaded: to the same path, at the same commit.

Requirements of a run on every machine that works for it: files of models, and plug-ins of distributions.

The check is a task of its own on each node. Its process loads this module, and no tensor library.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.cache_folders import MODEL_CACHE_VARIABLE
from mlprune.errors import HubError, MlpruneError, ModelError
from mlprune.hub import fetch_into, snapshot_origin
from mlprune.methods.plugins import RequiredPlugin
from mlprune.models.checkpoint.content_hashes import file_sha256


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model on the driver's machine."""

    folder: str
    sizes: Mapping[str, int]
    """File -> size in bytes."""
    hashes: Mapping[str, str]
    """File -> SHA-256, of all files but the weights."""


def require_files_here(models: Sequence[ModelFiles]) -> None:
    """Check that this machine has the files of some models; those of the hub are downloaded if they are missing.

    Raises:
        ModelError: a file is missing or differs.
    """
    for model in models:
        _fetch_missing(model)
        for name, size in model.sizes.items():
            _require_equal(model, name, size)


def _fetch_missing(model: ModelFiles) -> None:
    folder = Path(model.folder)
    missing = [name for name in model.sizes if not (folder / name).exists()]
    if not missing or snapshot_origin(folder) is None:
        return
    try:
        fetch_into(folder, missing)
    except (HubError, OSError) as err:
        raise _unusable(model, missing[0], reason=str(err)) from err


def _require_equal(model: ModelFiles, name: str, size: int) -> None:
    path = Path(model.folder) / name
    try:
        got = path.stat().st_size
    except OSError:
        raise _unusable(model, name, reason="it is missing") from None
    if got != size:
        raise _unusable(model, name, reason=f"it has {got} bytes, and {size} on the driver's machine")
    expected = model.hashes.get(name)
    if expected is not None and file_sha256(path) != expected:
        raise _unusable(model, name, reason="its content differs from that on the driver's machine")


def _unusable(model: ModelFiles, name: str, *, reason: str) -> ModelError:
    if snapshot_origin(Path(model.folder)) is not None:
        advice = "give the node access to the hub, or set HF_HOME to a folder that all nodes can write or share"
    else:
        advice = "keep models on storage that all nodes mount at the same path; "
        advice += f"{MODEL_CACHE_VARIABLE} names such a folder for imported models"
    path = str(Path(model.folder) / name)
    context = {"node": socket.gethostname(), "path": path, "reason": reason, "next": advice}
    return ModelError("a node does not have a file of a model", context)


@dataclass(frozen=True)
class Requirements:
    """What a machine must have, as the driver has it."""

    models: tuple[ModelFiles, ...] = ()
    plugins: tuple[RequiredPlugin, ...] = ()


NONE = Requirements()


def require_here(requirements: Requirements) -> None:
    """Check this machine. Plug-ins come first: files of hub models are downloaded if they are missing.

    Raises:
        PluginError: a plug-in is missing, or its version or source differs.
        ModelError: a file of a model is missing or differs.
    """
    for plugin in requirements.plugins:
        plugin.check()
    require_files_here(requirements.models)


def problem_here(requirements: Requirements) -> tuple[str, dict[str, object]] | None:
    """Return the message and the context of the error if this machine lacks something."""
    try:
        require_here(requirements)
    except MlpruneError as err:
        return err.message, dict(err.context)
    return None
