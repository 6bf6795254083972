"""The catalog of a store in an object store: a file in this machine's cache, shared with others through the store.

The cache is kept between commands, one folder for each store. A run uploads its catalog when it ends; who has none yet,
or is far behind, downloads that instead of reading every record. Both are only shortcuts: whatever file is there,
folding brings it up to date, and a file that cannot be used is made anew.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

from catalog.store.database_file import FILE_NAME, write_ahead_log
from mlprune.atomic import replacing
from mlprune.errors import MlpruneError
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
"""Variables that say which object store a URI means."""
_SEEN = "uploaded.json"


def cache_folder(store: Store) -> Path:
    """Where this machine keeps the catalog of a store: below `$XDG_CACHE_HOME`, or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = json.dumps([store.uri.rstrip("/"), *(os.environ.get(one) for one in _ENDPOINTS)])
    return Path(base) / "mlprune" / "catalogs" / hashlib.sha256(name.encode()).hexdigest()[:20]


class SharedCatalog:
    """The uploaded catalog of a store, and the cached file beside it.

    Args:
        store: a store that is no local folder.
        folder: where the cached file lies.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self.path = folder / FILE_NAME
        """The cached file."""
        self._seen = folder / _SEEN

    def fetch(self, *, is_far_behind: Callable[[], bool]) -> bool:
        """Download the uploaded catalog if there is another one than we have seen, and it is worth it.

        Args:
            is_far_behind: whether the cached file lacks many records; asked only if there are both files.
        Returns: whether the cached file is the uploaded one now.
        """
        try:
            uploaded = self._uploaded()
            if uploaded is None or uploaded == self._known() or (self.path.exists() and not is_far_behind()):
                return False
            self._download(uploaded)
        except (MlpruneError, OSError) as err:
            logger.warning("the uploaded catalog cannot be had, reading records instead: %s", err)
            return False
        return True

    def publish(self) -> bool:
        """Upload the cached file, which nobody may be writing to; returns whether that was possible."""
        try:
            self._store.upload(self.path, FILE_NAME)
            self._remember(self._uploaded())
        except (MlpruneError, OSError) as err:
            logger.warning("the catalog cannot be uploaded, others will read the records: %s", err)
            return False
        return True

    def is_published(self) -> bool:
        """Whether the uploaded catalog is the one this machine uploaded or downloaded last."""
        try:
            uploaded = self._uploaded()
        except (MlpruneError, OSError):
            return False
        return uploaded is not None and uploaded == self._known()

    def _uploaded(self) -> dict[str, float] | None:
        """Size and time of the uploaded catalog, None if there is none."""
        found = self._store.file_info(FILE_NAME)
        return {"n_bytes": found.n_bytes, "modified_at": found.modified_at} if found else None

    def _known(self) -> dict[str, float] | None:
        try:
            found: dict[str, float] = json.loads(self._seen.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def _remember(self, uploaded: dict[str, float] | None) -> None:
        self._seen.write_text(json.dumps(uploaded), "utf-8")

    def _download(self, uploaded: dict[str, float]) -> None:
        with replacing(self.path) as fresh:
            self._store.download(FILE_NAME, fresh)
            write_ahead_log(self.path).unlink(missing_ok=True)
        self._remember(uploaded)
