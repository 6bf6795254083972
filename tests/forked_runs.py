"""Runs and commands as real processes that need not import everything anew: a server that has done so forks them off.

A run can be held at a gate: its jobs of one step wait there until the test lets them pass. What a test does to a
process that waits there does not depend on how fast anything is.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["ray_jobs.cli", "ray_jobs.driver.run_recipe", "transformers.models.xglm.modeling_xglm", "pandas"]
)
ROOT = Path(__file__).parents[1]
PATIENCE_S = 240.0
POLL_S = 0.02


@dataclass(frozen=True)
class Gate:
    """Where jobs of a step wait, whatever process runs them.

    Args:
        folder: an empty folder.
        step: name of the step.
    """

    folder: Path
    step: str

    @classmethod
    def closed(cls, folder: Path, step: str) -> "Gate":
        """A gate at a folder that is made for it."""
        folder.mkdir()
        return cls(folder, step)

    def waiting(self) -> list[int]:
        """Numbers of the processes that have come to it."""
        return [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]

    def open(self) -> None:
        """Let all pass, now and later."""
        (self.folder / "open").touch()


class ForkedRun:
    """A run in a process of its own.

    Args:
        recipe: the recipe's file.
        store: path or URI.
        log: file that takes what the run says.
        address: as `mlprune run` takes it.
        gate: where its jobs wait.
        stale_after_s: for how long its claims outlive it.
        environment: more of it.
    """

    def __init__(
        self,
        recipe: Path,
        store: Path | str,
        *,
        log: Path,
        address: str = "none",
        gate: Gate | None = None,
        stale_after_s: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        settings = {"address": address, "stale_after_s": stale_after_s}
        arguments = (recipe, str(store), log, settings, gate, dict(environment or {}))
        self._process = CONTEXT.Process(target=_run, args=arguments)
        self._process.start()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def finish(self, patience_s: float = PATIENCE_S) -> str:
        """Wait for its end, which must be a good one; returns what it said."""
        self._process.join(patience_s)
        assert self._process.exitcode == 0, f"{self._process.exitcode}: {self.said()[-3000:]}"
        return self.said()

    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def until(self, condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Wait until something has happened while it runs."""
        give_up = time.monotonic() + patience_s
        while not condition():
            assert self._process.is_alive(), self.said()[-3000:]
            assert time.monotonic() < give_up, self.said()[-3000:]
            time.sleep(POLL_S)

    def end(self) -> None:
        """Kill it, if it lives."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


def mlprune(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own; returns how it ended and what it wrote."""
    words = ["mlprune", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = CONTEXT.Process(target=_command, args=(words, folder, cwd, dict(os.environ)))
        process.start()
        process.join(PATIENCE_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        out, err = ((folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
    return subprocess.CompletedProcess(words, process.exitcode or 0, out, err)


def _command(words: list[str], folder: Path, cwd: Path, environment: dict[str, str]) -> None:
    """The process of a command."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update({**environment, "COLUMNS": "200"})
    os.chdir(cwd)
    sys.argv = words
    from ray_jobs.cli.application import main  # noqa: PLC0415 - the server has imported it

    main()


def _run(
    recipe: Path, store: str, log: Path, settings: dict[str, Any], gate: Gate | None, environment: dict[str, str]
) -> None:
    """The process of a run."""
    os.environ.update(environment)
    stream = log.open("w", encoding="utf-8")
    os.dup2(stream.fileno(), 2)
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415 - the server has imported it, the tests need not

    if gate is not None:
        hold = _hold_here if settings["address"] == "none" else _hold_over_ray
        hold(gate)
    sys.exit(run_recipe(recipe, store, **settings).exit_code)


def _hold_here(gate: Gate) -> None:
    """Let the jobs of this process wait."""
    from ray_jobs.workers.worker import Worker  # noqa: PLC0415

    run, wait = Worker.run, _waiting(gate)

    def held(self, job, *more):
        wait(job.step)
        return run(self, job, *more)

    Worker.run = held


def _hold_over_ray(gate: Gate) -> None:
    """Let the jobs of this process's actors wait; the class is one that Ray carries to them whole."""
    from ray_jobs.workers import ray_pool  # noqa: PLC0415

    wait = _waiting(gate)

    class WorkerActor(ray_pool.WorkerActor):
        def run(self, job, *more):
            wait(job.step)
            return super().run(job, *more)

    ray_pool.WorkerActor = WorkerActor


def _waiting(gate: Gate) -> Callable[[str], None]:
    """A function that waits at a gate if a job of a step has to; it needs no module of the tests."""
    folder, held_step, poll_s = gate.folder, gate.step, POLL_S

    def wait(step: str) -> None:
        if step == held_step:
            (folder / str(os.getpid())).touch()
            while not (folder / "open").exists():
                time.sleep(poll_s)

    return wait
