"""A hub of models and data sets: files of one commit of a repository, fetched into the hub library's own cache.

Only files that a pattern names are fetched, and none is ever run. What is in the cache is not fetched again, and is
found without a network.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from mlprune.errors import HubError


def snapshot(name: str, *, kind: Literal["model", "dataset"], revision: str, files: Sequence[str]) -> Path:
    """The local folder of a repository at one commit, named for the commit, with the files that match a pattern.

    Args:
        name: such as `facebook/xnli`.
        revision: branch, tag, other reference or commit.
        files: patterns of paths inside the repository; a `*` stands for any characters.
    Raises:
        HubError: the hub has no such repository or revision, or cannot be reached and the cache lacks files.
    """
    try:
        folder = huggingface_hub.snapshot_download(
            name, repo_type=kind, revision=revision, allow_patterns=list(files), tqdm_class=_Bar
        )
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as err:
        message = "could not be fetched from the hub"
        raise HubError(message, name=name, revision=revision, reason=_reason(err)) from err
    return Path(folder)


class _Bar(tqdm):
    """A progress bar on a terminal, and nothing elsewhere."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": kwargs.get("disable") or None})  # type: ignore[no-untyped-call]


def _reason(err: Exception) -> str:
    """What went wrong, on one line."""
    known: dict[type[Exception], str] = {
        GatedRepoError: "the hub wants its terms accepted first, and a token",
        RepositoryNotFoundError: "the hub has no such repository, or not for everybody",
        RevisionNotFoundError: "the repository has no such revision",
    }
    said = next((reason for kind, reason in known.items() if isinstance(err, kind)), str(err).strip())
    return said.splitlines()[0] if said else type(err).__name__
