"""Commands that are no recipe: what they write to a store is noted as the jobs of a run, so that it can be followed to
the code, the machine and the time it came from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlprune.store.records import Record
from mlprune.store.store import Store
from ray_jobs.driver.run_log import Journal, begin_run
from ray_jobs.workers.worker import Stopwatch, worker_name


class RecordingStore(Store):
    """A store that notes each record written to it; a run begins with the first.

    Args:
        uri: the store.
        command: what the user called.
    """

    def __init__(self, uri: str, command: str) -> None:
        super().__init__(uri)
        self._command = command
        self._journal: Journal | None = None
        self._watch = Stopwatch()
        self.n_written = 0
        """Records written so far."""

    def write_record(self, record: Record) -> None:
        """Write it, and note what it took since the one before."""
        if self._journal is None:
            self._journal = Journal(self, begin_run(self, self._command))
            self._journal.planned(())
        super().write_record(record)
        self.n_written += 1
        outcome = self._watch.outcome((record.kind, record.id), step=self._command, worker=worker_name(0))
        self._journal.made(outcome)
        self._watch = Stopwatch()

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
    opened = RecordingStore(store.uri, command)
    is_done = False
    try:
        yield opened
        is_done = True
    finally:
        opened.end(is_done=is_done)
