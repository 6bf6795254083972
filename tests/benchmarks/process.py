"""Run each measurement in its own process, so that threads, allocations and peak memory do not affect the next."""

import gc
import multiprocessing
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class MeasurementError(Exception):
    """A measurement failed; carries the traceback of its process."""


def measured(function: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """Call a function in a forked process and return its result.

    This process must not have run any torch computation, because threads do not survive a fork.

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
    """Memory of this process in bytes: `VmRSS` is the resident memory, `VmHWM` its peak. Linux only."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def settled_memory_bytes() -> int:
    """Resident memory after unused memory has been released."""
    gc.collect()
    return memory_bytes("VmRSS")
