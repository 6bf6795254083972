"""Downloads from a hub of models and data sets: files of one commit of a repository, in the hub library's cache.

Only files that match a pattern are downloaded, and none is executed. Cached files are not downloaded again and need no
network.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
    """Return the local folder of a repository at one commit, with the files that match a pattern.

    The folder's name is the commit.

    Args:
        name: such as `facebook/xnli`.
        revision: branch, tag, other reference or commit.
        files: patterns of paths inside the repository; `*` matches any characters.
    Raises:
        HubError: the hub has no such repository or revision, or it cannot be reached and files are not cached.
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
    """A progress bar that is shown only on a terminal."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{**kwargs, "disable": kwargs.get("disable") or None})  # type: ignore[no-untyped-call]


def _reason(err: Exception) -> str:
    """Describe an error of the hub library on one line."""
    reasons: dict[type[Exception], str] = {
        GatedRepoError: "accept the terms of the repository on the hub, and set a token",
        RepositoryNotFoundError: "the hub has no such repository, or it is private",
        RevisionNotFoundError: "the repository has no such revision",
    }
    reason = next((reason for kind, reason in reasons.items() if isinstance(err, kind)), str(err).strip())
    return reason.splitlines()[0] if reason else type(err).__name__
