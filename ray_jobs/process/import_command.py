"""Run `mlprune import` as a process of its own; only one process imports a model at a time."""

import fcntl
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.processes.isolation import child_environment

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "ray_jobs.cli", "import")
ERROR_PREFIX = "mlprune: "
"""Beginning of the line that the command line prints for bad input."""
STOP_TIMEOUT_S = 10.0
"""Time that an interrupted import has to end."""


def run_import_command(source: str, target: Path, *, revision: str) -> None:
    """Import a model into a folder, unless another process has done so meanwhile. Its progress goes to stderr.

    Raises:
        ModelError: the import fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_process(target):
        if target.is_dir():
            return
        code, message = _run([*COMMAND, source, str(target), "--revision", revision])
        if code != 0:
            raise ModelError(message or f"the import of a model ended with exit code {code}", model=source)
        sys.stderr.write(f"imported {source} to {target}\n")


@contextmanager
def _only_process(target: Path) -> Iterator[None]:
    """Wait until no other process imports to the same folder. Without locks, the last rename wins."""
    path = target.with_name(f".{target.name}.lock")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("another process imports %s: waiting for it", target)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as err:
            logger.warning("%s cannot be locked (%s); two runs might import at the same time", path, err)
        yield


def _run(command: list[str]) -> tuple[int, str]:
    """Run a command; its progress goes to stderr. Returns its exit code and the text of its error."""
    environment = child_environment()
    message = ""
    with subprocess.Popen(  # noqa: S603 - the command is ours
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, encoding="utf-8", errors="replace"
    ) as process:
        try:
            for line in process.stderr or ():
                if line.startswith(ERROR_PREFIX):
                    message = line.removeprefix(ERROR_PREFIX).strip()
                else:
                    sys.stderr.write(line)
            process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, message
