"""Graceful shutdown: SIGTERM and SIGINT end a run once, in order, and the exit code names the signal.

A store stays consistent when any process is killed. A graceful end additionally removes the run's claims, ends its
workers and prints one line instead of a traceback.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TypeAlias

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
"""A signal handler as `signal.getsignal` returns it; None if it was not installed from Python."""


class GracefulShutdown:
    """Context manager: the first SIGTERM or SIGINT raises KeyboardInterrupt, later ones are ignored.

    Native code that waits usually passes KeyboardInterrupt on, but may raise an error of its own instead: after a
    signal, `number` is set, whatever exception arrives. In a thread other than the main thread nothing changes, since
    signals do not arrive there.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that arrived."""
        self._previous: dict[signal.Signals, Handler] = {}

    def __enter__(self) -> "GracefulShutdown":
        if _is_main_thread():
            self._previous = {number: signal.signal(number, self._stop) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """Exit code that shells use for a process ended by the signal: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + (self.number or signal.SIGINT)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            raise KeyboardInterrupt


@contextmanager
def preserve_signal_handlers() -> Iterator[None]:
    """Restore the handlers that a library replaces in the meantime; `ray.init` replaces that of SIGTERM."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        _install(handlers)


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Ignore SIGTERM and SIGINT while native code shuts down, which must not be interrupted."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    _install(dict.fromkeys(SIGNALS, signal.SIG_IGN))
    try:
        yield
    finally:
        _install(handlers)


def _install(handlers: Mapping[signal.Signals, Handler]) -> None:
    if _is_main_thread():
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
