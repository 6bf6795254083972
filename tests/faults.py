"""The command line in processes of their own, with a fault in them: forked off a server that has imported everything.

A fault is a function that runs in the process before the command does; use `functools.partial` to give it arguments.
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

CONTEXT.set_forkserver_preload(["ray_jobs.driver.run_recipe", "transformers.models.xglm.modeling_xglm", "pandas"])


class Ended:
    """How a command ended."""

    def __init__(self, process: multiprocessing.process.BaseProcess, log: Path) -> None:
        self.code = process.exitcode
        self.said = log.read_text(encoding="utf-8")


class Command:
    """A command that is run_recipe."""

    def __init__(self, *arguments: object, log: Path, faults: tuple[Fault, ...] = ()) -> None:
        self._log = log
        log.touch()
        self.process = CONTEXT.Process(target=_run, args=([str(one) for one in arguments], log, faults))
        self.process.start()

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self.process.pid is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def until(self, condition: Callable[[], object], *, patience_s: float = 120) -> None:
        """Wait until something has happened while it runs."""
        give_up = time.monotonic() + patience_s
        while not condition():
            assert self.process.is_alive(), self._log.read_text(encoding="utf-8")[-3000:]
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def ended(self, patience_s: float = 120) -> Ended:
        """Wait for its end."""
        self.process.join(patience_s)
        assert self.process.exitcode is not None, self._log.read_text(encoding="utf-8")[-3000:]
        return Ended(self.process, self._log)


def _run(arguments: list[str], log: Path, faults: tuple[Fault, ...]) -> None:
    """The process."""
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
    """What kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def slow_jobs(seconds: float) -> None:
    """Make every job take longer, so that a tiny run can be met in its middle."""
    before_jobs(lambda job: time.sleep(seconds))


def before_jobs(action: Callable[[Any], None]) -> None:
    """Do something in the worker before it runs a job."""
    from ray_jobs.workers.worker import Worker  # noqa: PLC0415

    run = Worker.run

    def disturbed(self: Any, job: Any) -> Any:
        action(job)
        return run(self, job)

    Worker.run = disturbed


def before_job(n: int, action: Callable[[], None], *, step: str | None = None) -> None:
    """Do something before the n-th job, of all or of a step."""
    seen = 0

    def count(job: Any) -> None:
        nonlocal seen
        if step in (None, job.step):
            seen += 1
            if seen == n:
                action()

    before_jobs(count)


def in_jobs(error: Callable[[], Exception], *, of: str, times: int = 1_000_000) -> None:
    """Have the jobs of a step raise something while they run, the first so many times."""
    from ray_jobs.workers.worker import Worker  # noqa: PLC0415

    run, left = Worker.run, times

    def disturbed(self: Any, job: Any) -> Any:
        nonlocal left
        if job.step == of and left:
            left -= 1
            job = copy.copy(job)  # the one that is tried again is sound
            object.__setattr__(job, "run", lambda *_: _raise(error()))
        return run(self, job)

    Worker.run = disturbed


def _raise(err: Exception) -> None:
    raise err


def kill_at_flush(n: int) -> None:
    """Die at the n-th flush to the disk: what is to be flushed is written, nothing after it has happened."""
    flush, seen = os.fsync, 0

    def counted(file: int) -> None:
        nonlocal seen
        seen += 1
        if seen == n:
            die()
        flush(file)

    os.fsync = counted


def kill_in_large_write(limit: int) -> None:
    """Die in the middle of writing the first file that gets larger than so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    _limit_files(limit)


def fill_disk(folder: Path, *, but: int) -> None:
    """Leave so many bytes free on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    (folder / "ballast").write_bytes(b"." * (free - but))


def refuse_large_writes(limit: int) -> None:
    """Let no file get larger than so many bytes: the write fails in its middle."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _limit_files(limit)


def _limit_files(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def clock_going_back(start: datetime) -> None:
    """Let every look at the clock tell an earlier time than the one before it."""
    from mlprune.store import claims  # noqa: PLC0415
    from ray_jobs.driver import run_log, run_recipe  # noqa: PLC0415
    from ray_jobs.workers import worker  # noqa: PLC0415

    seen = 0

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            nonlocal seen
            seen += 1
            return (start - timedelta(hours=seen)).astimezone(tz or UTC)

    for module in (claims, run_log, run_recipe, worker):
        module.datetime = Backwards
    time.time = lambda: Backwards.now().timestamp()


def on_cluster(settings: dict[str, str]) -> None:
    """Belong to a Ray cluster."""
    os.environ.update(settings)


@dataclass(frozen=True)
class Deadly(StubJob):
    """A job that kills the process it is run in."""

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
    """Have every sweep on Ray kill its worker, as often as it is tried."""
    import ray  # noqa: PLC0415

    from ray_jobs.workers.ray_pool import RayWorkers  # noqa: PLC0415

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    submit = RayWorkers.submit
    RayWorkers.submit = lambda self, job: submit(self, Deadly(job) if job.step == "sweep" else job)
