"""Imports in a process of their own: progress, errors, interruption, and one process at a time."""

import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from mlprune.errors import ModelError
from ray_jobs.driver import model_imports as import_command
from ray_jobs.driver.model_imports import run_import_command


def as_import(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a script stand for the import; it gets the same arguments."""
    monkeypatch.setattr(import_command, "COMMAND", (sys.executable, "-c", f"import os, sys, time\n{script}"))


def test_an_import_gets_its_arguments_and_its_progress_goes_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_import(monkeypatch, "os.mkdir(sys.argv[2]); print('advice'); print('half', *sys.argv[3:], file=sys.stderr)")
    run_import_command("some/model", tmp_path / "cache" / "model", revision="v1")
    captured = capsys.readouterr()
    assert captured.err == f"half --revision v1\nimported some/model to {tmp_path / 'cache' / 'model'}\n"
    assert captured.out == ""


def test_a_failed_import_is_the_error_that_it_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_import(monkeypatch, "print('mlprune: the pickle asks for os.system', file=sys.stderr); sys.exit(2)")
    with pytest.raises(ModelError, match=r"the pickle asks for os\.system") as caught:
        run_import_command("some/model", tmp_path / "model", revision="main")
    assert caught.value.context == {"model": "some/model"}
    assert capsys.readouterr().err == ""
    as_import(monkeypatch, "sys.exit(9)")
    with pytest.raises(ModelError, match="exit code 9"):
        run_import_command("some/model", tmp_path / "model", revision="main")


def test_a_second_process_waits_and_uses_the_import_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    as_import(monkeypatch, "sys.exit('imported again')")
    target = tmp_path / "model"

    def finish(lock: int) -> None:
        time.sleep(0.2)
        target.mkdir()
        os.close(lock)

    lock = os.open(tmp_path / ".model.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    first = threading.Thread(target=finish, args=(lock,))
    first.start()
    run_import_command("some/model", target, revision="main")
    first.join()
    assert "another process imports" in caplog.text


def test_an_interrupted_import_ends_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pid = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    as_import(monkeypatch, f"{write_pid}; print(flush=True, file=sys.stderr); time.sleep(60)")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_command.sys.stderr, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_import_command("some/model", tmp_path / "model", revision="main")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIG_DFL)
