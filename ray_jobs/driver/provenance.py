"""Provenance for commands that run without a recipe (rescore, harness): each record they write is logged as a job."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlprune.store.records import Record
from mlprune.store.store import Store
from ray_jobs.driver.run_log import RunLog, begin_run
from ray_jobs.workers.worker import Stopwatch, worker_name


class RecordingStore(Store):
    """A store that logs each record written to it. The first record starts a run.

    Args:
        uri: the store.
        command: name of the command.
    """

    def __init__(self, uri: str, command: str) -> None:
        super().__init__(uri, quarantine=True)
        self._command = command
        self._log: RunLog | None = None
        self._watch = Stopwatch()
        self.n_written = 0
        """Records written so far."""

    def write_record(self, record: Record) -> None:
        """Write the record, then log it with the time since the previous one."""
        if self._log is None:
            self._log = RunLog(self, begin_run(self, self._command))
            self._log.start(())
        super().write_record(record)
        self.n_written += 1
        outcome = self._watch.outcome((record.kind, record.id), step=self._command, worker=worker_name(0))
        self._log.log_record(outcome)
        self._watch = Stopwatch()

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.uri,)

    def end(self, *, is_done: bool) -> None:
        """Log the end of the command; a command that wrote nothing leaves no run."""
        if self._log is None:
            return
        if is_done:
            self._log.end("done", n_failed=0, n_skipped=0, n_elsewhere=0, n_done=self.n_written)
        else:
            self._log.end("stopped", n_done=self.n_written)


@contextmanager
def recorded_run(store: Store, command: str) -> Iterator[Store]:
    """Open the same store as a `RecordingStore` while a command writes to it."""
    recording = RecordingStore(store.uri, command)
    is_done = False
    try:
        yield recording
        is_done = True
    finally:
        recording.end(is_done=is_done)
