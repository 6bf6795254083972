"""Update the catalog during a run. The run does not depend on it: the records are the source of truth."""

import logging
import time

from catalog.store import Catalog
from mlprune.store.store import Store
from ray_jobs.workers.recovery.out_of_memory import is_out_of_memory

logger = logging.getLogger(__name__)

FOLD_INTERVAL_S = 15.0
"""Shortest time between two folds."""
MAX_FOLD_SHARE = 0.05
"""Largest share of the driver's time for folds: in a large store, even one that finds little takes seconds."""
MAX_FOLD_INTERVAL_S = 240.0
"""Longest time between two folds while another process locks the catalog; each fold waits for the lock and logs it."""


class CatalogSync:
    """Folds new records into the catalog from time to time, so that queries see them during the run.

    The next fold makes up for a fold that failed. The catalog of an object store is only folded at the end of the run,
    because each fold would list all records.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._interval_s = FOLD_INTERVAL_S
        self._folded_at = time.monotonic()

    def maybe_fold(self) -> None:
        """Fold if it is time to. The interval doubles while another process locks the catalog, and follows the time
        that a fold takes."""
        if self._store.local_root is None or time.monotonic() - self._folded_at < self._interval_s:
            return
        began_at = time.monotonic()
        is_folded = fold(self._store)
        self._folded_at = time.monotonic()
        least_s = max(FOLD_INTERVAL_S, (self._folded_at - began_at) * (1 / MAX_FOLD_SHARE - 1))
        self._interval_s = least_s if is_folded else min(2 * self._interval_s, MAX_FOLD_INTERVAL_S)


def fold(store: Store, *, publish: bool = False) -> bool:
    """Fold new records into the catalog. If the catalog is locked or memory is short, the next command does it.

    Args:
        publish: also upload the catalog of an object store.
    Returns: whether the catalog file, or the uploaded catalog of an object store, is up to date.
    """
    try:
        with Catalog.open(store) as catalog:
            if publish and catalog.shared is not None:
                return catalog.publish()
            return catalog.fold().persisted
    except Exception as err:
        if not is_out_of_memory(err):
            raise
        logger.warning("not enough memory to update the catalog: the next command or query updates it")
        return False
