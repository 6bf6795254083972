"""One measurement, one process: threads, allocations and peak memory of one do not reach the next."""

import gc
import multiprocessing
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class MeasurementError(Exception):
    """A measurement failed; carries the traceback of its process."""


def measured(function: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """Call a function in a process of its own, forked from this one, and return what it returned.

    This process must not have computed anything with torch: threads do not survive a fork.

    Raises:
        MeasurementError: the function raised, or its process died.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, function, args))
    process.start()
    sender.close()
    found: dict[str, Any] = {}
    try:
        found, failure = receiver.recv()
    except EOFError:
        failure = f"the process of {function.__name__} died"
    process.join()
    if failure:
        raise MeasurementError(failure)
    return found


def _report(sender: Any, function: Callable[..., dict[str, Any]], args: tuple[Any, ...]) -> None:
    try:
        sender.send((function(*args), ""))
    except BaseException:
        sender.send(({}, traceback.format_exc()))


def memory_bytes(field: str) -> int:
    """`VmRSS`, the resident memory of this process, or `VmHWM`, the largest it ever was. Linux only."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def settled_memory_bytes() -> int:
    """Resident memory once what is not used has been let go."""
    gc.collect()
    return memory_bytes("VmRSS")
