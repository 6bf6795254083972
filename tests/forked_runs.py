"""Runs as real processes that need not import everything anew: a server that has done so forks them off."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ray_jobs.running", "transformers.models.xglm.modeling_xglm"])


class ForkedRun:
    """A run in a process of its own, with --address none; its jobs each take a little longer.

    Args:
        recipe: the recipe's file.
        store: path or URI.
        log: file that takes what the run says.
        slow_s: by how much a job takes longer, so that a tiny one can be met in its middle.
        stale_after_s: for how long its claims outlive it.
    """

    def __init__(
        self,
        recipe: Path,
        store: Path | str,
        *,
        log: Path,
        slow_s: float = 0.0,
        stale_after_s: float = 60.0,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.log = log
        arguments = (recipe, str(store), log, slow_s, stale_after_s, environment or {})
        self._process = CONTEXT.Process(target=_run, args=arguments)
        self._process.start()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def finish(self, patience_s: float) -> str:
        """Wait for its end, which must be a good one; returns what it said."""
        self._process.join(patience_s)
        said = self.log.read_text(encoding="utf-8")
        assert self._process.exitcode == 0, said[-3000:]
        return said

    def until(self, condition: Callable[[], object], patience_s: float) -> None:
        """Wait until something has happened while it runs."""
        give_up = time.monotonic() + patience_s
        while not condition():
            assert self._process.is_alive(), self.log.read_text(encoding="utf-8")[-3000:]
            assert time.monotonic() < give_up
            time.sleep(0.02)

    def end(self) -> None:
        """Kill it, if it lives."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


def _run(recipe: Path, store: str, log: Path, slow_s: float, stale_after_s: float, environment: dict[str, str]) -> None:
    """The process."""
    from ray_jobs.running import run_recipe  # noqa: PLC0415 - the server has imported it, the tests need not
    from ray_jobs.worker import Worker  # noqa: PLC0415

    os.environ.update(environment)
    stream = log.open("w", encoding="utf-8")
    os.dup2(stream.fileno(), 2)
    run = Worker.run

    def slowed(self, job):
        time.sleep(slow_s)
        return run(self, job)

    Worker.run = slowed
    sys.exit(run_recipe(recipe, store, address="none", stale_after_s=stale_after_s).exit_code)
