"""Commands with a fault, in processes of their own that are forked off a server with all imports done.

A fault is a function that runs in the process before the command; `functools.partial` gives it arguments.
"""

import copy
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from mlprune.steps.job import ChainLoader, Job, RecordKey
from mlprune.store.store import Store
from tests.forked_runs import CONTEXT
from tests.stub_jobs import StubJob

Fault = Callable[[], None]


class Ended:
    """Exit code and output of a command."""

    def __init__(self, process: multiprocessing.process.BaseProcess, log: Path) -> None:
        self.code = process.exitcode
        self.output = log.read_text(encoding="utf-8")


class Command:
    """A running command."""

    def __init__(self, *arguments: object, log: Path, faults: tuple[Fault, ...] = ()) -> None:
        self._log = log
        log.touch()
        self.process = CONTEXT.Process(target=_run, args=([str(argument) for argument in arguments], log, faults))
        self.process.start()

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self.process.pid is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def until(self, condition: Callable[[], object], *, timeout_s: float = 120) -> None:
        """Wait until a condition is true while the process runs."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process.is_alive(), self._log.read_text(encoding="utf-8")[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def ended(self, timeout_s: float = 120) -> Ended:
        """Wait until the process has ended."""
        self.process.join(timeout_s)
        assert self.process.exitcode is not None, self._log.read_text(encoding="utf-8")[-3000:]
        return Ended(self.process, self._log)


def _run(arguments: list[str], log: Path, faults: tuple[Fault, ...]) -> None:
    """Main function of the process."""
    from ray_jobs.cli.application import main  # noqa: PLC0415 - the server has imported it

    stream = log.open("w", encoding="utf-8")
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    os.environ["COLUMNS"] = "1000"
    for fault in faults:
        fault()
    sys.argv = ["mlprune", *arguments]
    main()


# Faults


def die() -> None:
    """Kill this process, as `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def slow_jobs(seconds: float) -> None:
    """Make every job take longer, so that a test can act in the middle of a tiny run."""
    before_jobs(lambda job: time.sleep(seconds))


def before_jobs(action: Callable[[Any], None]) -> None:
    """Call a function in the worker before each job."""
    from ray_jobs.workers.worker import Worker  # noqa: PLC0415

    run = Worker.run

    def run_after_action(self: Any, job: Any) -> Any:
        action(job)
        return run(self, job)

    Worker.run = run_after_action


def before_job(n: int, action: Callable[[], None], *, step: str | None = None) -> None:
    """Call a function before the n-th job, of all steps or of one."""
    n_jobs = 0

    def count(job: Any) -> None:
        nonlocal n_jobs
        if step in (None, job.step):
            n_jobs += 1
            if n_jobs == n:
                action()

    before_jobs(count)


def in_jobs(error: Callable[[], Exception], *, of: str, times: int = 1_000_000) -> None:
    """Make the first jobs of a step raise an error, a number of times."""
    from ray_jobs.workers.worker import Worker  # noqa: PLC0415

    run, n_left = Worker.run, times

    def run_with_error(self: Any, job: Any) -> Any:
        nonlocal n_left
        if job.step == of and n_left:
            n_left -= 1
            job = copy.copy(job)  # the retried job does not raise
            object.__setattr__(job, "run", lambda *_: _raise(error()))
        return run(self, job)

    Worker.run = run_with_error


def _raise(err: Exception) -> None:
    raise err


def kill_at_flush(n: int) -> None:
    """Die at the n-th flush to the disk: the flushed data is written, and nothing after it has happened."""
    flush, n_flushes = os.fsync, 0

    def counted(file: int) -> None:
        nonlocal n_flushes
        n_flushes += 1
        if n_flushes == n:
            die()
        flush(file)

    os.fsync = counted


def kill_in_large_write(limit: int) -> None:
    """Die in the middle of writing the first file that exceeds a number of bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    _limit_files(limit)


def fill_disk(folder: Path, *, but: int) -> None:
    """Fill the disk of a folder except for a number of bytes."""
    free = shutil.disk_usage(folder).free
    (folder / "ballast").write_bytes(b"." * (free - but))


def refuse_large_writes(limit: int) -> None:
    """Fail writes that would make a file exceed a number of bytes, in the middle of the file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _limit_files(limit)


def _limit_files(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def clock_going_back(start: datetime) -> None:
    """Make the clock go back by an hour each time it is read."""
    from mlprune import timestamps  # noqa: PLC0415
    from mlprune.store import claims  # noqa: PLC0415
    from ray_jobs.driver import run_log  # noqa: PLC0415
    from ray_jobs.workers import worker  # noqa: PLC0415

    n_reads = 0

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            nonlocal n_reads
            n_reads += 1
            return (start - timedelta(hours=n_reads)).astimezone(tz or UTC)

    for module in (claims, run_log, timestamps, worker):
        module.datetime = Backwards
    time.time = lambda: Backwards.now().timestamp()


def on_cluster(settings: dict[str, str]) -> None:
    """Set the environment of a Ray cluster."""
    os.environ.update(settings)


@dataclass(frozen=True)
class Deadly(StubJob):
    """A job that kills its process."""

    step: ClassVar[str] = "sweep"
    job: Job

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return self.job.makes

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        return self.job.needs

    def run(self, store: Store, chain: ChainLoader) -> None:
        die()


def deadly_sweeps() -> None:
    """Make every sweep on Ray kill its worker, in every attempt."""
    import ray  # noqa: PLC0415

    from ray_jobs.workers.ray_pool import RayWorkers  # noqa: PLC0415

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    submit = RayWorkers.submit
    RayWorkers.submit = lambda self, job, **more: submit(self, Deadly(job) if job.step == "sweep" else job, **more)
