"""Graceful shutdown: the first signal interrupts, and protected code is not interrupted."""

import os
import signal
import threading

import pytest

from ray_jobs.process.signals import GracefulShutdown, ignore_signals, preserve_signal_handlers


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_interrupts_and_the_next_ones_do_not(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with GracefulShutdown() as shutdown:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
    assert (shutdown.number, shutdown.exit_code) == (number, code)
    assert signal.getsignal(number) == before


def test_handlers_that_a_library_replaces_are_restored() -> None:
    with GracefulShutdown() as shutdown:
        with preserve_signal_handlers():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert shutdown.number == signal.SIGTERM


def test_ignored_signals_do_not_interrupt() -> None:
    with GracefulShutdown() as shutdown:
        with ignore_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        assert shutdown.number is None
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_do_not_change_handlers() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    seen: list[object] = []

    def enter() -> None:
        with GracefulShutdown(), preserve_signal_handlers(), ignore_signals():
            seen.extend(signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == handlers
