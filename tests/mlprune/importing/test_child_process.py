"""The child process: what it may not do, and what happens when it dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlprune.errors import ModelError
from mlprune.importing import child_process, import_model
from tests.published_models import publish, published_tensors
from tests.tiny_models import save_tiny_model

STUB = "import sys\ndef main(has_network):\n    sys.stdin.readline()\n    {}\n"
"""Module of a child that runs another program."""
ERROR = json.dumps({"error": {"message": "bad file", "context": {"path": "x.bin"}}})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    model = save_tiny_model(tmp_path / "model")
    return publish(tmp_path / "source", model, published_tensors(model, "xglm"))


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "out of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("raise SystemExit('no such thing')", "no such thing"),
        ("print('{\"result\": {\"sha', end='', flush=True); import os; os.kill(os.getpid(), 9)", "out of memory"),
        ('print(\'{"error": {"message": "bad file", "context": {"path": "x.bin"}}}\')', "bad file .path='x.bin'"),
    ],
)
def test_a_child_that_dies_or_sends_an_error_is_one_error_and_leaves_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    (tmp_path / "stub_child.py").write_text(STUB.format(program))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(child_process, "MODULE", "stub_child")
    with pytest.raises(ModelError, match=expected):
        import_model(source, tmp_path / "out", report=lambda _: None)
    assert not list(tmp_path.glob("out*"))


def test_a_python_file_in_the_working_folder_is_not_imported_by_the_child(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "torch.py").write_text("raise SystemExit('code of the source ran')")
    (source / "stub_child.py").write_text("")
    monkeypatch.chdir(source)
    monkeypatch.setattr(child_process, "MODULE", "stub_child")
    with pytest.raises(ModelError, match="No module named 'stub_child'"):
        import_model(source, tmp_path / "out", report=lambda _: None)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.0, 4.0, 5.0, 6.0])
def test_an_import_killed_at_any_moment_starts_again_cleanly(tmp_path: Path, source: Path, seconds: float) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ray_jobs.cli", "import", str(source), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    assert not out.exists() or (out / "mlprune_import.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out", "source"]


@pytest.mark.slow
@pytest.mark.faults
def test_the_child_ends_when_the_import_is_killed(tmp_path: Path) -> None:
    pipe = os.pipe()
    command = [sys.executable, "-P", "-m", "mlprune.processes.isolation", child_process.MODULE]
    child = subprocess.Popen(command, stdin=pipe[0], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(pipe[0])
    os.write(pipe[1], json.dumps("a job that is not complete").encode())
    os.close(pipe[1])
    assert child.wait(timeout=300) != -signal.SIGKILL
