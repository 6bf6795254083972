"""Bringing the catalog up to date in the course of a run, which does not depend on it: records are the truth."""

import logging

from catalog.store import Catalog
from mlprune.storage import Store
from ray_jobs.relief import is_short_of_memory

logger = logging.getLogger(__name__)


def fold(store: Store, *, publish: bool = False) -> None:
    """Fold new records into the catalog; where somebody holds it, or memory is short, whoever asks next does.

    Args:
        publish: upload the catalog of an object store too.
    """
    try:
        with Catalog.open(store) as catalog:
            if publish:
                catalog.publish()
            else:
                catalog.fold()
    except Exception as err:
        if not is_short_of_memory(err):
            raise
        logger.warning("too little memory to bring the catalog up to date: the next command or query does")
