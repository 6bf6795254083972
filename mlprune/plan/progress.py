"""What of a plan is left to do: a job is done when its records exist and their artefacts lie there."""

from collections.abc import Iterable

from mlprune.steps.jobs import Job, RecordKey
from mlprune.storage import Store


def pending_jobs(jobs: Iterable[Job], store: Store, *, repair: bool = False) -> list[Job]:
    """The jobs that have to run, in the plan's order.

    A job is left to do if a record of it is missing, if an artefact is missing or has another size than its record
    says, or if a job it depends on is left to do. Of the latter, sound records that other recipes share stay.

    Args:
        repair: move records whose artefacts are damaged, and those that depend on them, to the quarantine, so that
            their work is done again.
    """
    present = set(store.record_names())
    pending: list[Job] = []
    unmade: set[RecordKey] = set()
    for job in jobs:
        lacking = [key for key in job.needs if key in unmade]
        if repair and any(key in present for key in job.makes):
            lacking = [key for key in lacking if not _made_meanwhile(store, key)]
        dirty = bool(lacking)
        own = set(job.makes) - set(job.shared) if dirty else set()
        stale = [key for key in job.makes if key in present and (key in own or not _is_sound(store, key))]
        if repair:
            for key in stale:
                record = store.read_record(*key)
                if record is not None:
                    store.quarantine(record)
        left = [key for key in job.makes if key in stale or key not in present]
        if dirty or left:
            pending.append(job)
            unmade.update(left)
    return pending


def _made_meanwhile(store: Store, key: RecordKey) -> bool:
    """Whether another run has made a record since the listing: then what needs it is sound, and must not be moved."""
    return store.has_record(*key) and _is_sound(store, key)


def _is_sound(store: Store, key: RecordKey) -> bool:
    record = store.read_record(*key)
    return record is not None and store.is_complete(record)
