"""Downloads from a hub of models and data sets: files of one commit of a repository, in the hub library's cache.

Only files that match a pattern are downloaded, and none is executed. Cached files are not downloaded again and need no
network. An interrupted download resumes. If the hub does not answer within seconds, only the cache is used.
"""

import logging
import re
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils.tqdm import tqdm

from mlprune.errors import HubError
from mlprune.network import connection_problem

logger = logging.getLogger(__name__)

Kind: TypeAlias = Literal["model", "dataset"]
NOUNS: Mapping[Kind, str] = {"model": "the model", "dataset": "the data set"}
"""Kind -> its name in messages."""
Result = TypeVar("Result")

CONNECT_TIMEOUT_S = 2.0
"""Time in which the hub has to accept a connection."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFiles:
    """The files of a repository at one commit."""

    name: str
    commit: str
    sizes: Mapping[str, int]
    """Path in the repository -> size in bytes."""

    def matching(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Return the files that match a pattern, sorted."""
        return tuple(path for path in sorted(self.sizes) if any(fnmatchcase(path, pattern) for pattern in patterns))

    def n_bytes(self, files: Sequence[str]) -> int:
        """Return the size of some files."""
        return sum(self.sizes[file] for file in files)

    def missing(self, files: Sequence[str], *, kind: Kind) -> tuple[str, ...]:
        """Return those of some files that are not in the cache."""
        return tuple(file for file in files if cached_file(self.name, file, kind=kind, commit=self.commit) is None)


def list_files(name: str, *, kind: Kind, revision: str) -> HubFiles:
    """List the files of a repository at one commit, with their sizes. Nothing is downloaded.

    Args:
        revision: branch, tag, other reference or commit.
    Raises:
        HubError: the hub has no such repository or revision, or it cannot be reached.
    """

    if problem := hub_problem():
        raise _unreachable(name, kind, revision, problem=problem)
    return _translated(lambda: _request_files(name, kind, revision), name, kind, revision)


def require_hub_or_cache(name: str, *, kind: Kind, revision: str) -> None:
    """Check that the hub accepts connections or that the cache has something of a repository.

    Raises:
        HubError: neither is so.
    """
    folder = cache_folder() / f"{kind}s--{name.replace('/', '--')}"
    if not folder.is_dir() and (problem := hub_problem()):
        raise _unreachable(name, kind, revision, problem=problem)


def _request_files(name: str, kind: Kind, revision: str) -> HubFiles:
    api = huggingface_hub.HfApi(endpoint=constants.ENDPOINT)
    ask = api.model_info if kind == "model" else api.dataset_info
    info = ask(name, revision=revision, files_metadata=True)
    sizes: dict[str, int] = {}
    for file in info.siblings or ():
        size = file.size or 0
        if not _is_path_inside(file.rfilename) or not isinstance(size, int) or size < 0:
            raise ValueError(f"the hub lists a file that cannot be downloaded: {file.rfilename!r} of {size!r} bytes")
        sizes[file.rfilename] = size
    return HubFiles(name, str(info.sha), sizes)


def _is_path_inside(path: object) -> bool:
    """Whether a path of a listing leads to a file in the repository."""
    return isinstance(path, str) and "\\" not in path and not {"", ".", ".."} & set(path.split("/"))


def snapshot(
    name: str,
    *,
    kind: Kind,
    revision: str,
    files: Sequence[str],
    uses_network: bool = True,
    logs_size: bool = False,
) -> Path:
    """Return the local folder of a repository at one commit, with the files that match a pattern.

    The folder's name is the commit.

    Args:
        name: such as `facebook/xnli`.
        revision: branch, tag, other reference or commit.
        files: patterns of paths inside the repository; `*` matches any characters.
        uses_network: False for the cache alone.
        logs_size: log how much is downloaded, before it is.
    Raises:
        HubError: the hub has no such repository or revision, or it cannot be reached and files are not cached.
    """

    def download(*, local_files_only: bool) -> Path:
        folder = huggingface_hub.snapshot_download(
            name,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(files),
            tqdm_class=_Bar,
            local_files_only=local_files_only,
        )
        return Path(folder)

    if _COMMIT.fullmatch(revision):
        try:
            return download(local_files_only=True)
        except (OSError, ValueError):  # not everything is in the cache
            pass
    problem = hub_problem() if uses_network else "only the cache was tried"
    if problem is None:
        if logs_size:
            _translated(lambda: _log_size(_request_files(name, kind, revision), kind, files), name, kind, revision)
        return _translated(lambda: download(local_files_only=False), name, kind, revision)
    try:
        return download(local_files_only=True)
    except (OSError, ValueError) as err:
        raise _unreachable(name, kind, revision, problem=problem) from err


def snapshot_origin(folder: Path) -> tuple[str, str] | None:
    """Return (name, commit) of the hub model whose snapshot in a cache a folder is; None for other folders."""
    repository = folder.parent.parent.name
    if folder.parent.name != "snapshots" or not repository.startswith("models--") or not _COMMIT.fullmatch(folder.name):
        return None
    return repository.removeprefix("models--").replace("--", "/"), folder.name


def fetch_into(folder: Path, files: Sequence[str]) -> None:
    """Download files of a hub model to a snapshot in any cache, at the commit of the snapshot.

    Raises:
        HubError: the folder is not a snapshot, or the files cannot be downloaded.
    """
    name, commit = snapshot_origin(folder) or (str(folder), "")
    problem = hub_problem() if commit else "the folder is not a snapshot of a hub model"
    if problem is not None:
        raise _unreachable(name, "model", commit, problem=problem)
    options: dict[str, Any] = {"allow_patterns": list(files), "cache_dir": folder.parents[2], "tqdm_class": _Bar}
    _translated(lambda: huggingface_hub.snapshot_download(name, revision=commit, **options), name, "model", commit)


def _log_size(listed: HubFiles, kind: Kind, patterns: Sequence[str]) -> None:
    """Log the files that will be downloaded, if there are any."""
    missing = listed.missing(listed.matching(patterns), kind=kind)
    if missing:
        size = f"{len(missing)} files, {format_size(listed.n_bytes(missing))}"
        logger.warning("downloading %s, commit %s: %s", listed.name, listed.commit[:12], size)


def format_size(n_bytes: int) -> str:
    """Format a number of bytes in GB or MB."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 10**8 else f"{n_bytes / 1e6:.1f} MB"


def cached_file(name: str, file: str, *, kind: Kind, commit: str) -> Path | None:
    """Return the path of a file in the cache; None if it was not downloaded."""
    path = huggingface_hub.try_to_load_from_cache(
        name, file, cache_dir=constants.HF_HUB_CACHE, revision=commit, repo_type=kind
    )
    return Path(path) if isinstance(path, str) else None


def cache_folder() -> Path:
    """Return the folder to which files are downloaded; it may not exist yet."""
    return Path(constants.HF_HUB_CACHE).expanduser()


def hub_problem() -> str | None:
    """Return why the hub cannot be used now; None if it accepts connections.

    Raises:
        HubError: the address of the hub is not an address.
    """
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    address = urlsplit(constants.ENDPOINT)
    try:
        port = address.port
    except ValueError:
        port = 0
    if address.scheme not in ("http", "https") or not address.hostname or port == 0:
        expected = "an address such as https://huggingface.co"
        raise HubError("HF_ENDPOINT is not the address of a hub", expected=expected, got=constants.ENDPOINT)
    host, port = _proxy(address.scheme, address.hostname) or (address.hostname, port)
    port = port or {"http": 80, "https": 443}[address.scheme]
    problem = connection_problem(host, port, timeout_s=CONNECT_TIMEOUT_S)
    return None if problem is None else f"{host}:{port}: {problem}"


def _proxy(scheme: str, host: str) -> tuple[str, int | None] | None:
    """Return the address of the proxy for a host; None if there is none."""
    proxies = urllib.request.getproxies()
    proxy = urlsplit(proxies.get(scheme) or proxies.get("all") or "")
    if not proxy.hostname or urllib.request.proxy_bypass(host):
        return None
    return proxy.hostname, proxy.port


def _translated(request: Callable[[], Result], name: str, kind: Kind, revision: str) -> Result:
    """Make a request; errors of the hub library become a HubError."""
    try:
        return request()
    except Exception as err:  # the library also raises the errors of its HTTP client, which differs between versions
        message = f"{NOUNS[kind]} could not be fetched from the hub"
        raise HubError(message, name=name, revision=revision, reason=_reason(err)) from err


def _unreachable(name: str, kind: Kind, revision: str, *, problem: str) -> HubError:
    message = f"{NOUNS[kind]} could not be fetched from the hub, which cannot be reached, and is not in the cache"
    place = {"name": name, "revision": revision, "reason": problem, "cache": str(cache_folder())}
    return HubError(message, place, next="check the network and HF_ENDPOINT, or name a local folder")


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
