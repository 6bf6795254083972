"""Bringing the catalog up to date in the course of a run, which does not depend on it: records are the truth."""

import logging
import time

from catalog.store import Catalog
from mlprune.store.store import Store
from ray_jobs.workers.out_of_memory import is_out_of_memory

logger = logging.getLogger(__name__)

FOLD_EVERY_S = 15.0
LONGEST_WAIT_S = 240.0
"""Time between two folds while somebody holds the file: each of them waits for it, and says so."""


class CatalogSync:
    """Lets readers see the records that a run has made so far; where that fails, the next fold catches up.

    The catalog of an object store is folded at the end only: each time would list all of its records.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wait_s = FOLD_EVERY_S
        self._folded_at = time.monotonic()

    def maybe_fold(self) -> None:
        """Fold if it is time to; as long as the file cannot be had, that is twice as long each time."""
        if self._store.local_root is None or time.monotonic() - self._folded_at < self._wait_s:
            return
        is_folded = fold(self._store)
        self._wait_s = FOLD_EVERY_S if is_folded else min(2 * self._wait_s, LONGEST_WAIT_S)
        self._folded_at = time.monotonic()


def fold(store: Store, *, publish: bool = False) -> bool:
    """Fold new records into the catalog; where somebody holds it, or memory is short, whoever asks next does.

    Args:
        publish: upload the catalog of an object store too.
    Returns: whether the file has them now; of an object store, whether the uploaded one has.
    """
    try:
        with Catalog.open(store) as catalog:
            if publish and catalog.shared is not None:
                return catalog.publish()
            return catalog.fold().persisted
    except Exception as err:
        if not is_out_of_memory(err):
            raise
        logger.warning("too little memory to bring the catalog up to date: the next command or query does")
        return False
