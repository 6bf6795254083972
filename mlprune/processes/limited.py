"""Processes with limits of time and memory, for work on files of other persons.

`run_limited` calls a function in a child that is forked off this process: modules and tokenizers that are loaded here
need not be loaded again, and what the function prints is not shown. A child that exceeds a limit is ended by the
system, whatever it does. Only Linux limits the memory; elsewhere the function runs in this process, because a fork of a
process with loaded libraries is not safe there.
"""

import contextlib
import faulthandler
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

HAS_LIMITS = sys.platform == "linux"
MAX_RESULT_BYTES = 1 << 28
"""Longest result of a child, as JSON."""
WAITS_PER_SECOND = 20
"""Time on the clock that a child may take for each second of its processor time, on a machine that does other things.
Work on files does not wait for anything else."""


@dataclass(frozen=True)
class Limits:
    """What a child may use."""

    processor_s: float
    """Processor time, of this process and the system on its behalf."""
    memory_bytes: int
    """Address space, in addition to that of the process when it begins."""

    @property
    def wait_s(self) -> float:
        """Longest time on the clock."""
        return WAITS_PER_SECOND * self.processor_s


class LimitError(Exception):
    """A child exceeded a limit, or died."""


class TimeLimitError(LimitError):
    """A child took too long."""


class MemoryLimitError(LimitError):
    """A child needed too much memory."""


def limit_memory(n_bytes: int) -> None:
    """Limit the address space of this process to its present size and some bytes more, where the system can."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + n_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def limit_time(limits: Limits | None) -> None:
    """End this process when it exceeds the time limits, from now on; None lifts them."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, limits.processor_s if limits else 0)
    signal.setitimer(signal.ITIMER_REAL, limits.wait_s if limits else 0)


def end_of(status: int, limits: Limits) -> LimitError:
    """Return the error of a child that ended early.

    Args:
        status: its exit code, or the negative number of the signal that ended it.
    """
    if status in (-signal.SIGPROF, -signal.SIGALRM):
        return TimeLimitError(f"more than {limits.processor_s:g} s")
    if status in (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):  # native code without memory
        return MemoryLimitError(f"more than {limits.memory_bytes >> 20} MiB")
    return LimitError(f"signal {-status}" if status < 0 else f"exit code {status}")


def is_memory_error(err: BaseException | None) -> bool:
    """Whether an error is a lack of memory, or was raised because of one."""
    while err is not None and not isinstance(err, MemoryError):
        err = err.__cause__ or err.__context__
    return err is not None


def run_limited(function: Callable[[], Any], limits: Limits) -> Any:
    """Call a function in a child process with limits.

    Args:
        function: returns a JSON value. Its changes in memory are lost with the child.
    Returns: the result, as JSON has it.
    Raises:
        LimitError: the child exceeded a limit, or died.
    """
    if not HAS_LIMITS:
        return json.loads(json.dumps(function(), default=str))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(function, limits, writer)
    os.close(writer)
    status: int | None = None
    try:
        content = _read(reader, time.monotonic() + limits.wait_s + 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(reader)
        if status is None:  # interrupted, or it neither answers nor ends
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if status or not content:
        raise end_of(status, limits)
    answer = json.loads(content)
    if "memory" in answer:
        raise end_of(-signal.SIGKILL, limits)
    return answer["result"]


def _read(reader: int, deadline: float) -> bytes:
    """Read until the child has closed the pipe.

    Raises:
        TimeLimitError: it has not done so at the deadline.
        MemoryLimitError: it sends too much.
    """
    content = bytearray()
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeLimitError("it did not answer")
        part = os.read(reader, 1 << 16)
        content += part
        if not part:
            return bytes(content)
        if len(content) > MAX_RESULT_BYTES:
            raise MemoryLimitError(f"a result of more than {MAX_RESULT_BYTES >> 20} MiB")


def _be_child(function: Callable[[], Any], limits: Limits, writer: int) -> NoReturn:
    """Be the child: call the function, send the result, and end without what the parent does at its end."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        sys.stdout = sys.stderr = os.fdopen(nowhere, "w")
        faulthandler.disable()
        _use_one_thread()
        limit_memory(limits.memory_bytes)
        limit_time(limits)
        try:
            content = json.dumps({"result": function()}, default=str).encode()
        except Exception as err:
            if not is_memory_error(err):
                raise
            content = b'{"memory": true}'
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(content)
        status = 0
    finally:
        os._exit(status)


def _use_one_thread() -> None:
    """Let libraries compute in the only thread that a forked process has."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
