"""Commands of mlprune in processes that are forked off a server with all imports done."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["infra.soak.preload"])
TIMEOUT_S = 600.0


class ForkedCommand:
    """A command that runs in a process of its own.

    Args:
        words: arguments of `mlprune`.
        log: file to which its output is appended.
    """

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._process = CONTEXT.Process(target=_main, args=(["mlprune", *words], str(log)))
        self._process.start()

    def kill_after(self, delay_s: float, *, pause_s: float = 0.0) -> bool:
        """Wait, stop the process for a while, continue it, kill it; return False if it had ended before.

        Args:
            pause_s: how long it is stopped, by SIGSTOP, before it goes on for a moment.
        """
        self._process.join(delay_s)
        if pause_s and self._process.exitcode is None:
            self._signal(signal.SIGSTOP)
            time.sleep(pause_s)
            self._signal(signal.SIGCONT)
            self._process.join(pause_s)
        if self._process.exitcode is not None:
            return False
        self._signal(signal.SIGKILL)
        self._process.join()
        return self._process.exitcode == -signal.SIGKILL

    def wait(self) -> int:
        """Return the exit code; a command that does not end is killed."""
        self._process.join(TIMEOUT_S)
        if self._process.exitcode is None:
            self._signal(signal.SIGKILL)
            self._process.join()
        return self._process.exitcode or 0

    def _signal(self, number: signal.Signals) -> None:
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)


def _main(words: list[str], log: str) -> None:
    """Run a command in a forked process."""
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(stream, number)
    print(">", *words[1:], flush=True)  # noqa: T201 - the log
    sys.argv = words
    from ray_jobs.cli.application import main  # noqa: PLC0415 - the server has imported it

    main()
