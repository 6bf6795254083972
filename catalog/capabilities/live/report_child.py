"""Render the report in a child process: its memory is freed when it ends, and the page answers meanwhile.

The child reads a private copy of the catalog, and writes nothing to the store.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event

from catalog.report import write_report
from catalog.store.live_catalog import private_catalog
from mlprune.errors import StoreError
from mlprune.processes.isolation import child_environment
from mlprune.store.store import Store

RenderReport = Callable[[Path, Event], None]
"""Writes the report to a path, and gives up once the event is set."""
NICENESS = 10
"""Lower priority of the child, because the machine may run a driver and workers."""
POLL_S = 0.2
MESSAGE_LENGTH = 500


def render_in_child(uri: str) -> RenderReport:
    """Return a function that renders the report of a store in a child process.

    Its error is a StoreError: the child failed.
    """

    def render(out: Path, stopped: Event) -> None:
        command = [sys.executable, "-m", __name__, uri, str(out)]
        threads = {"OMP_NUM_THREADS": "1"}
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(  # noqa: S603 - this interpreter
                command, env={**child_environment(), **threads}, stdout=subprocess.DEVNULL, stderr=errors
            )
            try:
                code = _wait(child, stopped)
            finally:
                child.kill()
                child.wait()
            errors.seek(0)
            message = errors.read().decode("utf-8", "replace").strip()
        if code:
            raise StoreError("the report cannot be rendered", reason=message[-MESSAGE_LENGTH:])

    return render


def _wait(child: subprocess.Popen[bytes], stopped: Event) -> int | None:
    """Wait for the end of the child; return its exit code, None if the event was set before."""
    while not stopped.is_set():
        try:
            return child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    return None


def render(uri: str, out: Path) -> None:
    """Render the report of a store to a file next to which is room for a catalog."""
    with (
        tempfile.TemporaryDirectory(dir=out.parent) as folder,
        private_catalog(Store(uri), Path(folder)) as catalog,
    ):
        catalog.fold()
        write_report(catalog, out)


if __name__ == "__main__":
    os.nice(NICENESS)
    render(sys.argv[1], Path(sys.argv[2]))
