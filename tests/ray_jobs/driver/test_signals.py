"""Signals that ask to stop: once is enough, and native code is left alone."""

import os
import signal
import threading

import pytest

from ray_jobs.driver.signals import GracefulShutdown, handlers_kept, undisturbed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_interrupts_and_the_next_ones_do_not(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with GracefulShutdown() as stoppable:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
    assert (stoppable.number, stoppable.exit_code) == (number, code)
    assert signal.getsignal(number) == before


def test_what_a_library_does_to_the_handlers_is_undone() -> None:
    with GracefulShutdown() as stoppable:
        with handlers_kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert stoppable.number == signal.SIGTERM


def test_undisturbed_work_is_not_interrupted() -> None:
    with GracefulShutdown() as stoppable:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        assert stoppable.number is None
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_in_another_thread_nothing_is_changed() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    seen: list[object] = []

    def enter() -> None:
        with GracefulShutdown(), handlers_kept(), undisturbed():
            seen.extend(signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == handlers
