"""The shared catalog of a remote store: a file in this machine's cache, uploaded to and downloaded from the store.

The cache is kept between commands, with one folder per store. A run uploads its catalog when it ends. A machine whose
cached catalog is missing or far out of date downloads it instead of reading every record. Both are only shortcuts:
folding brings any cached file up to date, and rebuilds a file that cannot be used.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

from catalog.store.database_file import FILE_NAME, write_ahead_log
from mlprune.atomic import remove_left_over, unfinished_path
from mlprune.cache_folders import user_cache_folder
from mlprune.errors import MlpruneError
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
"""Environment variables that determine which object store a URI refers to."""
_LAST_SEEN = "uploaded.json"
DOWNLOADING = "downloading"
"""In the name of a catalog file that is being downloaded."""

UploadedFile = dict[str, float]
"""Size and modification time of the uploaded catalog."""


def cache_folder(store: Store) -> Path:
    """Return this machine's cache folder for the catalog of a store, in `$XDG_CACHE_HOME` or `~/.cache`."""
    name = json.dumps([store.uri.rstrip("/"), *(os.environ.get(variable) for variable in _ENDPOINTS)])
    return user_cache_folder() / "catalogs" / hashlib.sha256(name.encode()).hexdigest()[:20]


class SharedCatalog:
    """The uploaded catalog of a store, and its cached copy.

    Args:
        store: a remote store.
        folder: folder of the cached file.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self.path = folder / FILE_NAME
        """The cached file."""
        self._last_seen = folder / _LAST_SEEN

    def fetch(self, *, is_outdated: Callable[[], bool]) -> bool:
        """Download the uploaded catalog if this machine does not have it yet and the cached one is missing or outdated.

        Args:
            is_outdated: whether the cached file lacks many records; called only if both files exist.
        Returns: whether the uploaded catalog was downloaded.
        """
        try:
            uploaded = self._uploaded()
            if uploaded is None or uploaded == self._read_last_seen() or (self.path.exists() and not is_outdated()):
                return False
            self._download(uploaded)
        except (MlpruneError, OSError) as err:
            logger.warning("the uploaded catalog is not available, reading records instead: %s", err)
            return False
        return True

    def publish(self) -> bool:
        """Upload the cached file; return whether that was possible. No process may write to the file meanwhile."""
        try:
            self._store.upload(self.path, FILE_NAME)
            self._write_last_seen(self._uploaded())
        except (MlpruneError, OSError) as err:
            logger.warning("the catalog cannot be uploaded, other machines will read the records: %s", err)
            return False
        return True

    def is_published(self) -> bool:
        """Whether the uploaded catalog is the one that this machine uploaded or downloaded last."""
        try:
            uploaded = self._uploaded()
        except (MlpruneError, OSError):
            return False
        return uploaded is not None and uploaded == self._read_last_seen()

    def _uploaded(self) -> UploadedFile | None:
        """Return size and time of the uploaded catalog; None if there is no such file."""
        info = self._store.file_info(FILE_NAME)
        return {"n_bytes": info.n_bytes, "modified_at": info.modified_at} if info else None

    def _read_last_seen(self) -> UploadedFile | None:
        try:
            last_seen: UploadedFile = json.loads(self._last_seen.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return last_seen

    def _write_last_seen(self, uploaded: UploadedFile | None) -> None:
        self._last_seen.write_text(json.dumps(uploaded), "utf-8")

    def _download(self, uploaded: UploadedFile) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(self.path, DOWNLOADING)
        fresh = unfinished_path(self.path, DOWNLOADING)
        try:
            self._store.download(FILE_NAME, fresh)
            write_ahead_log(self.path).unlink(missing_ok=True)
            fresh.replace(self.path)
        finally:
            fresh.unlink(missing_ok=True)
        self._write_last_seen(uploaded)
