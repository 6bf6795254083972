"""Base models by their id: find the folder of one, and check that a folder contains it.

The id of a base model is a hash of its files, so two folders with equal files are the same base model.
"""

from collections.abc import Iterator
from pathlib import Path

from mlprune.errors import BadInputError, ModelError
from mlprune.json_values import as_object
from mlprune.models.loading import ModelInfo, inspect_model
from mlprune.steps.job import Identity, make_identity
from mlprune.store.store import Store


def base_model_identity(info: ModelInfo) -> Identity:
    """The identity of a base model from the contents of its files."""
    return make_identity("base_models", contents=info.content)


def require_base_model(folder: Path, base_model_id: str) -> ModelInfo:
    """Inspect the folder of a base model and check its id.

    Raises:
        BadInputError: the folder contains another model.
        ModelError: the model cannot be read.
    """
    info = inspect_model(folder)
    folder_id = base_model_identity(info).id
    if folder_id != base_model_id:
        message = "the folder contains another model than the variant was made from"
        raise BadInputError(message, path=str(folder), expected=base_model_id, got=folder_id)
    return info


def find_base_model(store: Store, base_model_id: str, *, option: str = "--model PATH") -> Path:
    """The newest folder where a run of this store used a base model and where it still is, unchanged.

    Args:
        option: how the user names another folder, for messages.
    Raises:
        BadInputError: there is no such folder; the message asks for the option.
    """
    folders = list(dict.fromkeys(_folders_of_runs(store, base_model_id)))
    for folder in folders:
        try:
            require_base_model(Path(folder), base_model_id)
        except (BadInputError, ModelError):
            continue
        return Path(folder)
    raise BadInputError(
        "the base model is not in a folder where a run of this store used it",
        next=f"pass its folder with {option}",
        base_model_id=base_model_id,
        tried=folders,
    )


def _folders_of_runs(store: Store, base_model_id: str) -> Iterator[str]:
    """Folders of a base model in the run files, newest run first: run ids begin with the time."""
    for path in reversed(store.list("runs")):
        if path.endswith("/run.json"):
            try:
                folder = as_object(as_object(store.read_json(path))["models"])[base_model_id]
            except (OSError, ValueError, LookupError, TypeError):
                continue
            if isinstance(folder, str):
                yield folder
