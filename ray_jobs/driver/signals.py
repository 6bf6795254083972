"""Being asked to stop: SIGTERM and SIGINT end a run once, in order, with an exit code that says which it was.

A store needs none of this, whatever is killed. It is for people and schedulers: claims are removed, workers let go, and
the log ends with a line instead of a traceback.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class GracefulShutdown:
    """While it lasts, the first signal to stop raises KeyboardInterrupt; those that follow it are passed over.

    KeyboardInterrupt for both, because that is what waiting in native code hands on. In a thread other than the main
    one nothing is changed: signals do not arrive there.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that arrived."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "GracefulShutdown":
        if _is_main_thread():
            self._before = {number: signal.signal(number, self._stop) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal ended: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + (self.number or signal.SIGINT)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            raise KeyboardInterrupt


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put back the handlers that a library replaces meanwhile, as `ray.init` does with SIGTERM's."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        _install(handlers)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Pass signals to stop over: native code that takes itself down must not be interrupted in it."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    _install(dict.fromkeys(SIGNALS, signal.SIG_IGN))
    try:
        yield
    finally:
        _install(handlers)


def _install(handlers: dict[signal.Signals, Any]) -> None:
    if _is_main_thread():
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
