"""Import the models of a recipe that have the key `import`, once, into a folder that all nodes see.

The model cache is the folder in MLPRUNE_MODEL_CACHE, or `imported-models` in a local store. A folder of it has the name
of a model and its commit, and appears complete or not at all. The conversion runs as `mlprune import` in a process of
its own; only one run imports a model at a time.
"""

import fcntl
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlprune.atomic import UNFINISHED
from mlprune.cache_folders import MODEL_CACHE_VARIABLE, user_cache_folder
from mlprune.capabilities.capability import all_capabilities, require_capabilities
from mlprune.errors import BadInputError, HubError, ModelError, RecipeError
from mlprune.hashing import digest
from mlprune.hub import format_size
from mlprune.models.import_record import HubCheckpoint, read_import_record
from mlprune.processes.isolation import child_environment
from mlprune.recipe.base import IMPORT_KEY, wants_import
from mlprune.recipe.models import Recipe
from ray_jobs.driver.workplace import LOCAL_ADDRESSES

CACHE_FOLDER = "imported-models"
"""Folder of the model cache in a local store, or in the user's cache folder."""
ALLOW_IMPORT = "--allow-import"
COMMIT_DIGITS = 12
"""Digits of a commit in the name of a folder."""
logger = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "ray_jobs.cli", "import")
ERROR_PREFIX = "mlprune: "
"""Beginning of the line that the command line prints for bad input."""
STOP_TIMEOUT_S = 10.0
"""Time that an interrupted import has to end."""


@dataclass(frozen=True)
class RequestedImport:
    """A model that a recipe asks to import."""

    source: str
    """Id on the hub, or folder."""
    revision: str
    target: Path
    """Folder of the imported model."""
    hub_source: HubCheckpoint | None = field(default=None, compare=False)
    """The files to download; None for a folder, or if the hub does not answer."""

    @property
    def is_done(self) -> bool:
        """Whether the model was imported."""
        return read_import_record(self.target) is not None if self.target.is_dir() else False

    def describe(self) -> Iterator[str]:
        """Yield lines on what an import would fetch and write."""
        if self.hub_source is None:
            yield f"import {self.source}"
        else:
            yield f"fetch {self.hub_source.describe()}"
        yield f"write {self.target}" + ("" if self.hub_source is None else f": {self._written()}")

    def _written(self) -> str:
        size = self.hub_source.written_bytes if self.hub_source is not None else 0
        return f"about {format_size(size)}" if size else "links to the downloaded files"


def with_imported_models(recipe: Recipe, *, store_uri: str, address: str, is_allowed: bool) -> Recipe:
    """Return the recipe with the folders of the imported models; models that are missing are imported first.

    Args:
        address: where the recipe runs.
        is_allowed: whether the user permits the conversion of downloaded files.
    Raises:
        BadInputError: a model has to be imported and that is not allowed, or the import fails.
    """
    requested = requested_imports(recipe, store_uri=store_uri, address=address)
    return import_requested(recipe, requested, is_allowed=is_allowed)


def import_requested(recipe: Recipe, requested: Mapping[str, RequestedImport], *, is_allowed: bool) -> Recipe:
    """Import models that are missing, and return the recipe with the folders; see `with_imported_models`."""
    pending = pending_imports(requested)
    if pending and not is_allowed:
        raise not_allowed(pending[0])
    for request in pending:
        run_import_command(request.source, request.target, revision=request.revision)
    return _replaced(recipe, requested)


def pending_imports(requested: Mapping[str, RequestedImport]) -> list[RequestedImport]:
    """Return one import for each folder that is missing."""
    by_target = {request.target: request for request in requested.values()}
    return [request for request in by_target.values() if not request.is_done]


def requested_imports(recipe: Recipe, *, store_uri: str, address: str) -> Mapping[str, RequestedImport]:
    """Return key of the recipe -> import that it asks for.

    Raises:
        BadInputError: no capability imports models, no folder is known that all nodes see, or the hub does not have
            the model.
    """
    entries = dict(_wanted(recipe))
    if not entries:
        return {}
    require_capabilities(recipe)
    cache = model_cache(store_uri, address=address)
    return {key: _request(recipe, path, revision, cache) for key, (path, revision) in entries.items()}


def model_cache(store_uri: str, *, address: str) -> Path:
    """Return the folder of imported models.

    Raises:
        BadInputError: a run on a cluster has its store in an object store, and the variable is not set.
    """
    if folder := os.environ.get(MODEL_CACHE_VARIABLE):
        return Path(folder).expanduser().absolute()
    if "://" not in store_uri:
        return Path(store_uri).absolute() / CACHE_FOLDER
    if address in LOCAL_ADDRESSES:
        return user_cache_folder().absolute() / CACHE_FOLDER
    raise BadInputError(
        "a model has to be imported, and this store has no folder that all nodes see; set the variable to one",
        store=store_uri,
        expected=f"{MODEL_CACHE_VARIABLE}=/a/folder/that/all/nodes/see",
    )


def not_allowed(request: RequestedImport) -> BadInputError:
    """Return the error for an import without the option that allows it."""
    action = "downloads it and converts its files" if request.hub_source is not None else "converts its files"
    return RecipeError(
        "the recipe asks to import a model",
        model=request.source,
        next=f"add {ALLOW_IMPORT}, which {action}, pickled ones in a process without network that accepts only "
        f"tensors, into {request.target}",
    )


def _wanted(recipe: Recipe) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield key, path and revision of the models that a recipe asks to import."""
    if wants_import(recipe.model):
        yield "model", (recipe.model.path, recipe.model.revision)
    for index, entry in enumerate(recipe.baselines):
        if entry.kind == "model" and wants_import(entry):
            yield f"baselines.{index}", (entry.path or "", entry.revision)


def _request(recipe: Recipe, path: str, revision: str, cache: Path) -> RequestedImport:
    source_path = recipe.resolve(path)
    if source_path.exists():
        return RequestedImport(str(source_path), revision, cache / f"{source_path.name}-{_state(source_path)}")
    name = re.sub(r"[^\w.-]+", "--", path)
    try:
        source = _find_source(path, revision)
    except HubError:
        imported = newest_import(cache, path, revision)
        if imported is None:
            raise
        return RequestedImport(path, revision, imported)
    return RequestedImport(path, revision, cache / f"{name}-{source.origin.commit[:COMMIT_DIGITS]}", source)


def _find_source(hub_id: str, revision: str) -> HubCheckpoint:
    find = next(one.find_source for one in all_capabilities() if one.find_source is not None)
    return find(hub_id, revision)


def _state(path: Path) -> str:
    """Return a hash of the names, sizes and times of the files of a folder, or of a file."""
    files = path.iterdir() if path.is_dir() else (path,)
    states = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return digest([str(path), states])[:12]


def newest_import(cache: Path, hub_id: str, revision: str) -> Path | None:
    """Return the newest import of a revision of a hub model, for when the hub does not answer."""
    folders = [folder for folder in cache.glob("[!.]*") if folder.is_dir() and UNFINISHED not in folder.name]
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
        record = read_import_record(folder)
        origin = record.origin if record is not None else None
        if origin is not None and origin.hub_id == hub_id and revision in (origin.revision, origin.commit):
            return folder
    return None


def _replaced(recipe: Recipe, requested: Mapping[str, RequestedImport]) -> Recipe:
    """Return the recipe with the folders of imports."""

    def update(key: str) -> dict[str, object]:
        return {"path": str(requested[key].target), IMPORT_KEY: False}

    model = recipe.model.model_copy(update=update("model")) if "model" in requested else recipe.model
    baselines = tuple(
        entry.model_copy(update=update(f"baselines.{index}")) if f"baselines.{index}" in requested else entry
        for index, entry in enumerate(recipe.baselines)
    )
    return recipe.model_copy(update={"model": model, "baselines": baselines})


def run_import_command(source: str, target: Path, *, revision: str) -> None:
    """Import a model into a folder, unless another process has done so meanwhile. Its progress goes to stderr.

    Raises:
        ModelError: the import fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_process(target):
        if target.is_dir():
            return
        code, message = _run([*COMMAND, source, "--out", str(target), "--revision", revision])
        if code != 0:
            raise ModelError(message or f"the import of a model ended with exit code {code}", model=source)
        sys.stderr.write(f"imported {source} to {target}\n")


@contextmanager
def _only_process(target: Path) -> Iterator[None]:
    """Wait until no other process imports to the same folder. Without locks, the last rename wins."""
    path = target.with_name(f".{target.name}.lock")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("another process imports %s: waiting for it", target)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as err:
            logger.warning("%s cannot be locked (%s); two runs might import at the same time", path, err)
        yield


def _run(command: list[str]) -> tuple[int, str]:
    """Run a command; its progress goes to stderr. Returns its exit code and the text of its error."""
    environment = child_environment()
    message = ""
    with subprocess.Popen(  # noqa: S603 - the command is ours
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, encoding="utf-8", errors="replace"
    ) as process:
        try:
            for line in process.stderr or ():
                if line.startswith(ERROR_PREFIX):
                    message = line.removeprefix(ERROR_PREFIX).strip()
                else:
                    sys.stderr.write(line)
            process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, message
