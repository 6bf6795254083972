"""Runs and commands in processes of their own that are forked off a server with all imports done.

A run can wait at a gate: its jobs of one step stop there until the test opens it. A test that acts on a
waiting process does not depend on the speed of the machine.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.forkserver_preload"])
ROOT = Path(__file__).parents[1]
TIMEOUT_S = 900.0
"""A limit for tests that hang. It is far above what a test needs on a machine that does twenty other things."""
POLL_INTERVAL_S = 0.02


@dataclass(frozen=True)
class Gate:
    """Where the jobs of a step wait, in any process.

    Args:
        folder: an empty folder.
        step: name of the step.
    """

    folder: Path
    step: str

    @classmethod
    def closed(cls, folder: Path, step: str) -> "Gate":
        """Create a closed gate and its folder."""
        folder.mkdir()
        return cls(folder, step)

    def waiting(self) -> list[int]:
        """Ids of the processes that have reached the gate."""
        return [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]

    def open(self) -> None:
        """Let all processes continue, now and later."""
        (self.folder / "open").touch()


class ForkedRun:
    """A run in a process of its own.

    Args:
        recipe: the recipe's file.
        store: path or URI.
        log: file for its stderr.
        address: as `mlprune run` takes it.
        gate: where its jobs wait.
        stale_after_s: how long its claims are respected after it stops renewing them.
        environment: additional environment variables.
        allowed_plugins: files of plug-ins that the recipe may name.
        site: folder with distributions that only this process sees.
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
        allowed_plugins: Sequence[Path] = (),
        site: Path | None = None,
    ) -> None:
        self.log = log
        settings = {"address": address, "stale_after_s": stale_after_s, "allowed_plugins": tuple(allowed_plugins)}
        settings |= {"gate": gate, "site": site}
        arguments = (recipe, str(store), log, settings, dict(environment or {}))
        self._process = CONTEXT.Process(target=_run, args=arguments)
        self._process.start()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def finish(self, timeout_s: float = TIMEOUT_S) -> str:
        """Wait until the process has ended with exit code 0; returns its stderr."""
        self._process.join(timeout_s)
        assert self._process.exitcode == 0, f"{self._process.exitcode}: {self.stderr()[-3000:]}"
        return self.stderr()

    def stderr(self) -> str:
        """Stderr so far."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def until(self, condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
        """Wait until a condition is true while the process runs."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self._process.is_alive(), self.stderr()[-3000:]
            assert time.monotonic() < deadline, self.stderr()[-3000:]
            time.sleep(POLL_INTERVAL_S)

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process.is_alive()

    def end(self) -> None:
        """Kill the process if it is still alive."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


@dataclass(frozen=True)
class CompletedCommand:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str
    modules: frozenset[str]
    """Modules that were imported at its end; empty if it was killed."""


def mlprune(*arguments: object, cwd: Path = ROOT) -> CompletedCommand:
    """Run the command line in a process of its own."""
    words = ["mlprune", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = CONTEXT.Process(target=_command, args=(words, folder, cwd, dict(os.environ)))
        process.start()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        out, err, modules = (
            path.read_text(encoding="utf-8") if (path := folder / file).exists() else ""
            for file in ("out", "err", "modules")
        )
    return CompletedCommand(process.exitcode or 0, out, err, frozenset(modules.split()))


def _command(words: list[str], folder: Path, cwd: Path, environment: dict[str, str]) -> None:
    """Main function of a command's process."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update({**environment, "COLUMNS": "200"})
    os.chdir(cwd)
    sys.argv = words
    from ray_jobs.cli.application import main  # noqa: PLC0415 - the server has imported it

    try:
        main()
    finally:
        (folder / "modules").write_text("\n".join(sys.modules), encoding="utf-8")


def _run(recipe: Path, store: str, log: Path, settings: dict[str, Any], environment: dict[str, str]) -> None:
    """Main function of a run's process."""
    gate, site = settings.pop("gate"), settings.pop("site")
    if site is not None:
        sys.path.insert(0, str(site))
    os.environ.update(environment)
    stream = log.open("w", encoding="utf-8")
    os.dup2(stream.fileno(), 2)
    from ray_jobs.driver.changed_recipe import RecipeChanges  # noqa: PLC0415 - the server has imported it
    from ray_jobs.driver.run_recipe import RunOptions, run_recipe  # noqa: PLC0415 - the tests need not import it

    changes = RecipeChanges(allowed_plugins=settings.pop("allowed_plugins"))
    if gate is not None:
        hold = _hold_here if settings["address"] == "none" else _hold_on_ray
        hold(gate)
    options = RunOptions(stale_after_s=settings.pop("stale_after_s"))
    sys.exit(run_recipe(recipe, store, changes=changes, options=options, **settings).exit_code)


def _hold_here(gate: Gate) -> None:
    """Make the jobs of this process wait at a gate."""
    from ray_jobs.workers.worker import Worker  # noqa: PLC0415

    run, wait = Worker.run, _waiting(gate)

    def run_after_gate(self, job, *more):
        wait(job.step)
        return run(self, job, *more)

    Worker.run = run_after_gate


def _hold_on_ray(gate: Gate) -> None:
    """Make the jobs of this process's actors wait at a gate; Ray sends the class to them as a whole."""
    from ray_jobs.workers import replica_actors as replica  # noqa: PLC0415

    wait = _waiting(gate)

    class WorkerActor(replica.WorkerActor):
        def run(self, job, *more):
            wait(job.step)
            return super().run(job, *more)

    class ShardActor(replica.ShardActor):
        def run(self, job, *more):
            wait(job.step)
            return super().run(job, *more)

    replica.WorkerActor, replica.ShardActor = WorkerActor, ShardActor


def _waiting(gate: Gate) -> Callable[[str], None]:
    """Return a function that waits at a gate if a job is of its step; it needs no module of the tests."""
    folder, held_step, poll_s = gate.folder, gate.step, POLL_INTERVAL_S

    def wait(step: str) -> None:
        if step == held_step:
            (folder / str(os.getpid())).touch()
            while not (folder / "open").exists():
                time.sleep(poll_s)

    return wait
