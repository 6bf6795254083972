"""Processes: isolation, identity and parallel work."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from mlprune.processes import process_identity
from mlprune.processes.parallel import n_threads, parallel_map, set_worker_threads
from mlprune.processes.process_identity import file_tag, is_alive, is_gone, is_of_ended_process, this_process
from tests.ended_processes import ended_tag

pytestmark = pytest.mark.usefixtures("own_threads")


@pytest.fixture
def own_threads() -> Iterator[None]:
    yield
    set_worker_threads(1)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_results_come_in_the_order_of_the_items_whichever_is_ready_first(n: int) -> None:
    set_worker_threads(n)

    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert n_threads() == n
    assert list(parallel_map(slow_first, range(12))) == [item * item for item in range(12)]
    assert not list(parallel_map(slow_first, ()))


def test_items_are_computed_at_the_same_time() -> None:
    set_worker_threads(2)
    meeting = threading.Barrier(2, timeout=300)
    assert sorted(parallel_map(lambda _: meeting.wait(), range(2))) == [0, 1]


def test_with_one_thread_the_caller_computes_and_no_item_is_drawn_ahead() -> None:
    drawn = []
    results = parallel_map(lambda _: threading.get_ident(), (drawn.append(item) for item in range(3)))
    assert next(results) == threading.get_ident()
    assert len(drawn) == 1


def test_at_most_two_items_per_thread_are_drawn_ahead() -> None:
    set_worker_threads(2)
    drawn = []

    def items() -> Iterator[int]:
        for item in range(20):
            drawn.append(item)
            yield item

    results = parallel_map(lambda item: item, items())
    for n_taken in range(1, 20):
        next(results)
        assert len(drawn) <= n_taken + 2 * n_threads()


def test_a_nested_map_runs_sequentially_in_its_thread() -> None:
    set_worker_threads(2)

    def nested(_item: int) -> tuple[int, set[int]]:
        return threading.get_ident(), set(parallel_map(lambda _: threading.get_ident(), range(5)))

    for outer, inner in parallel_map(nested, range(4)):
        assert inner == {outer}
        assert outer != threading.get_ident()


@pytest.mark.parametrize("n", [1, 2])
def test_an_exception_is_raised_in_place_of_its_result_and_no_item_is_still_running(n: int) -> None:
    set_worker_threads(n)
    started, ended = [], []

    def failing(item: int) -> int:
        started.append(item)
        time.sleep(0.01)
        ended.append(item)
        if item == 1:
            raise KeyError(item)
        return item

    results = parallel_map(failing, range(50))
    assert next(results) == 0
    with pytest.raises(KeyError):
        list(results)
    assert sorted(started) == sorted(ended)
    assert len(started) < 10
    assert list(parallel_map(str, range(3))) == ["0", "1", "2"]


def test_an_exception_of_the_iterable_ends_the_map() -> None:
    set_worker_threads(2)

    def items() -> Iterator[int]:
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(parallel_map(str, items()))


def test_closing_the_results_stops_the_computation() -> None:
    set_worker_threads(2)
    started: list[int] = []
    results = parallel_map(started.append, range(100))
    next(results)
    results.close()  # type: ignore[attr-defined]
    n_started = len(started)
    time.sleep(0.02)
    assert len(started) == n_started <= 4


@pytest.mark.parametrize("n", [1, 2])
def test_every_item_is_computed_with_one_thread_of_the_tensor_library(n: int) -> None:
    torch.set_num_threads(2)
    set_worker_threads(n)
    meeting = threading.Barrier(n, timeout=300)

    def seconds(_item: int) -> float:
        meeting.wait()
        started, matrix = time.thread_time(), torch.ones(500, 500)
        for _ in range(30):
            matrix @ matrix
        return time.thread_time() - started

    process_s = time.process_time()
    items_s = sum(parallel_map(seconds, range(n)))
    process_s = time.process_time() - process_s
    assert process_s < 1.3 * items_s + 0.02
    assert list(parallel_map(lambda _: torch.get_num_threads(), range(n))) == [1] * n


ATTEMPTS = {
    "socket": "import socket; socket.socket()",
    "name": "import socket; socket.getaddrinfo('localhost', 80)",
    "shell": "import os; os.system('echo started')",
    "program": "import subprocess; subprocess.run(['echo', 'started'])",
    "spawn": "import os; os.posix_spawn('/bin/echo', ['echo', 'started'], {})",
    "exec": "import os; os.execv('/bin/echo', ['echo', 'started'])",
    "fork": "import os; os.fork()",
}


def run_python(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.thorough("computes many cases")
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_sockets_and_programs_are_refused(attempt: str) -> None:
    program = f"from mlprune.processes.isolation import *; refuse_sockets_and_programs(); {ATTEMPTS[attempt]}"
    done = run_python(program)
    assert done.returncode == 1
    assert "IsolationError" in done.stderr
    assert "started" not in done.stdout


def test_a_process_without_network_still_reads_and_writes_files_but_reaches_no_address(tmp_path: object) -> None:
    program = f"""
import socket, threading, pathlib
from mlprune.processes.isolation import leave_network
server = socket.create_server(("127.0.0.1", 0))
if not leave_network():
    print("not permitted")
    raise SystemExit
path = pathlib.Path({str(tmp_path)!r}, "file")
path.write_text("written")
assert path.read_text() == "written"
try:
    socket.create_connection(server.getsockname(), timeout=60)
except OSError:
    print("unreachable")
"""
    done = run_python(program)
    assert done.stdout.strip() in ("unreachable", "not permitted"), done.stderr


CODE = (
    "import sys; from mlprune.processes.process_identity import this_process; "
    "print(this_process(), flush=True); sys.stdin.read()"
)


@pytest.fixture
def other() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_this_process_is_not_gone() -> None:
    assert this_process() == this_process()
    assert not is_gone(this_process())


def test_a_killed_process_is_gone_even_before_its_parent_waits_for_it(other: subprocess.Popen[str]) -> None:
    assert other.stdout is not None
    name = other.stdout.readline().strip()
    assert not is_gone(name)
    assert is_alive(name)
    other.kill()
    other.stdout.read()
    for _ in range(30_000):
        if is_gone(name):
            break
        time.sleep(0.01)
    assert is_gone(name)
    other.wait()
    assert is_gone(name)


def test_a_reused_pid_is_not_the_old_process() -> None:
    namespace, pid, start = str(this_process()).split("/")
    assert is_gone(f"{namespace}/{pid}/{int(start) + 1}")
    assert not is_alive(f"{namespace}/{pid}/{int(start) + 1}")
    assert is_alive(this_process())


@pytest.mark.parametrize("name", [None, 7, "", "a", "a/b/c/d", "elsewhere/1/1", {}])
def test_a_process_of_another_machine_is_neither_gone_nor_alive(name: object) -> None:
    assert not is_gone(name)
    assert not is_alive(name)


def test_without_proc_a_process_is_neither_gone_nor_alive(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    name = this_process()
    monkeypatch.setattr(process_identity, "_PROC", tmp_path)
    assert this_process() is None
    assert not is_gone(name)
    assert not is_alive(name)


def test_a_file_name_says_whether_its_process_has_ended() -> None:
    assert not is_of_ended_process(f"a.writing-{file_tag()}-0123abcd")
    assert is_of_ended_process(f"a.writing-{ended_tag()}-0123abcd.wal")
    assert not is_of_ended_process(f"a.writing-00000000-{ended_tag().partition('-')[2]}-0123abcd")
    assert not is_of_ended_process("a.writing-0123abcd")
