"""Commands that are no recipe: what they write to a store is noted as the jobs of a run, so that it can be followed to
the code, the machine and the time it came from."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlprune.records import Record
from mlprune.storage import Store
from ray_jobs.environment import this_environment
from ray_jobs.journal import Journal, begin_run, now
from ray_jobs.measuring import PeakMemory
from ray_jobs.worker import Outcome, worker_name


class NotedStore(Store):
    """A store that notes each record written to it; a run begins with the first.

    Args:
        uri: the store.
        command: what the user called.
    """

    def __init__(self, uri: str, command: str) -> None:
        super().__init__(uri)
        self._command = command
        self._journal: Journal | None = None
        self._started_at, self._started, self._peak = now(), time.monotonic(), PeakMemory()
        self.n_written = 0
        """Records written so far."""

    def write_record(self, record: Record) -> None:
        """Write it, and note what it took since the one before."""
        if self._journal is None:
            self._journal = Journal(self, begin_run(self, self._command))
            self._journal.planned(())
        super().write_record(record)
        self.n_written += 1
        self._journal.made(
            Outcome(
                makes=(record.kind, record.id),
                step=self._command,
                host=socket.gethostname(),
                worker=worker_name(0),
                started_at=self._started_at,
                elapsed_s=round(time.monotonic() - self._started, 4),
                peak_memory_gib=round(self._peak.gib(), 3),
                peak_is_of_job=self._peak.is_of_job,
                environment=this_environment(),
            )
        )
        self._started_at, self._started, self._peak = now(), time.monotonic(), PeakMemory()

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.uri,)

    def end(self, *, is_done: bool) -> None:
        """The command is over; nothing is noted if it wrote nothing."""
        if self._journal is not None:
            how = {"how": "done", "n_failed": 0, "n_skipped": 0, "n_elsewhere": 0} if is_done else {"how": "stopped"}
            self._journal.ended(**how, n_done=self.n_written)


@contextmanager
def noted(store: Store, command: str) -> Iterator[Store]:
    """The same store, for the time of a command that writes to it."""
    opened = NotedStore(store.uri, command)
    is_done = False
    try:
        yield opened
        is_done = True
    finally:
        opened.end(is_done=is_done)
