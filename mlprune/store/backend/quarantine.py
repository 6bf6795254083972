"""The quarantine of a store: what is damaged, or in the place of a file, is moved there and never deleted by a run."""

import logging
import os
import uuid
from pathlib import Path

from mlprune.store.backend.connection import StoreConnection
from mlprune.store.backend.local_files import readable, report_unreadable_name

logger = logging.getLogger(__name__)


class StoreQuarantine(StoreConnection):
    """A store whose files can be moved to its quarantine; see `StoreConnection` for the errors."""

    quarantines = False
    """Whether reading moves what is damaged to the quarantine."""

    def _make_way(self, path: str) -> None:
        """Quarantine what prevents a file of this name: a folder in its place, or a file in place of its folder."""
        target = Path(self._full(path))
        if target.is_dir():
            self._move_obstacle(path)
        elif not target.parent.is_dir():
            parts = path.split("/")
            for n_parts in range(1, len(parts)):
                folder = "/".join(parts[:n_parts])
                if os.path.lexists(self._full(folder)) and not Path(self._full(folder)).is_dir():
                    self._move_obstacle(folder)

    def _move_obstacle(self, path: str) -> None:
        logger.warning("%s prevents the writing of a file: moved to quarantine/", path)
        self._to_quarantine(path)

    def delete(self, path: str) -> None:
        """Remove a file if it exists."""
        try:
            if self.is_local:
                Path(self._full(path)).unlink()
            else:
                self._request(lambda: self._files.delete_file(self._full(path)))
        except FileNotFoundError:
            return

    def _to_quarantine(self, path: str) -> None:
        """Move a file, or a folder in place of a file, to the quarantine, unless another process has just done so."""
        source, target = self._full(path), self._full(quarantine_path(path))
        try:
            if self.is_local:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(source).rename(target)
            else:
                self._request(lambda: self._files.copy_file(source, target))
                self.delete(path)
        except FileNotFoundError:
            logger.info("%s is gone already", path)

    def _on_unreadable_name(self, full: str) -> None:
        """Report a file whose name is not UTF-8, which is skipped; a store that quarantines moves it."""
        if not self.quarantines:
            report_unreadable_name(full)
            return
        logger.warning("the name of %s is not UTF-8: moved to quarantine/", readable(full))
        self._to_quarantine(self._relative(full))


def quarantine_path(path: str) -> str:
    """Return a path in the quarantine for a file; it differs at every call."""
    return f"quarantine/{readable(path).replace('/', '-')}.{uuid.uuid4().hex[:8]}"
