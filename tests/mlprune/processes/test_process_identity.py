"""Process identity: which processes have ended."""

import subprocess
import sys
import time

import pytest

from mlprune.processes import process_identity
from mlprune.processes.process_identity import file_tag, is_alive, is_gone, is_of_ended_process, this_process
from tests.ended_processes import ended_tag

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
