"""The folder of an import, the check of a disk, and the child process that converts."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from mlprune.capabilities.importing import child_process, import_folder
from mlprune.capabilities.importing.conversion import convert
from mlprune.capabilities.importing.import_folder import RESERVE_BYTES, require_space, source_folder, staging_folder
from mlprune.capabilities.importing.model_import import import_model
from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.loading import inspect_model, load_tokenizer
from tests.gguf_files import write_gguf
from tests.published_models import publish, published_tensors
from tests.refusals import refused
from tests.tiny_models import save_tiny_model


class Usage(NamedTuple):
    free: int


def test_a_reserve_is_left_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(RESERVE_BYTES + 10))
    require_space(tmp_path, 10, purpose="import")
    with refused(ModelError, path=str(tmp_path)):
        require_space(tmp_path, 11, purpose="import")


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(job: object, **_: object) -> object:
        return convert(job, lambda *_: None, has_network=False)  # type: ignore[arg-type]

    monkeypatch.setattr("mlprune.capabilities.importing.model_import.run_child", run)


@pytest.mark.usefixtures("_in_this_process")
def test_a_gguf_file_becomes_a_model_folder_without_the_files_next_to_it(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "tiny.gguf", "gemma3")
    (tmp_path / "other.gguf").write_bytes(b"of another model")
    (tmp_path / "tokenizer.json").write_text("of another model")
    out = tmp_path / "out"
    imported = import_model(tmp_path / "tiny.gguf", out, dtype="bfloat16", report=print)
    assert imported.record.source == "tiny.gguf"
    assert imported.record.quantization == "Q8_0: 16, F32: 13"
    assert list(imported.record.files) == ["tiny.gguf"]
    weights = WeightFiles(out, architecture_at(out)).read("model.norm.weight", torch.float32)
    assert torch.equal(weights, ((model.model.norm.weight + 1) - 1).detach().bfloat16().float())
    assert inspect_model(out).family == "gemma3_text"
    assert load_tokenizer(out).eos_token_id == 1
    assert import_model(tmp_path / "tiny.gguf", out, dtype="bfloat16", report=print).result is None


@pytest.mark.parametrize("name", ["missing", "notes.txt"])
def test_another_path_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelError), source_folder(tmp_path / name):
        pass


def test_errors_about_a_gguf_file_name_the_file_and_no_temporary_folder(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file, "qwen2")
    file.write_bytes(file.read_bytes()[:5000])
    with refused(ModelError, path=str(file)):
        import_model(file, tmp_path / "out", report=print)


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "config.json", "model.safetensors", "tokenizer.json"])
def test_a_link_out_of_the_source_and_a_pipe_are_refused(tmp_path: Path, name: str) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    save_tiny_model(source, "xglm")
    (tmp_path / "secret").write_text("secret")
    (source / name).unlink(missing_ok=True)
    for make in (lambda path: path.symlink_to(tmp_path / "secret"), os.mkfifo):
        make(source / name)
        with refused(ModelError, path=str(source / name)):
            import_model(source, out, report=print)
        assert not out.exists()
        (source / name).unlink()


def test_links_of_a_snapshot_in_the_cache_of_a_hub_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / "0a1b").write_text("{}")
    snapshot = repository / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/0a1b")
    with source_folder(snapshot) as folder:
        assert folder == snapshot
    (snapshot / "README.md").symlink_to(tmp_path)
    (snapshot / "LICENSE").symlink_to("../../../other")
    with pytest.raises(ModelError), source_folder(snapshot):
        pass


def test_the_folder_appears_under_its_name_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "models" / "out"
    with staging_folder(target) as folder:
        (folder.path / "file").write_text("x")
        assert not target.exists()
    assert (target / "file").read_text() == "x"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_every_file_is_flushed_before_the_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int, bool]] = []

    def fsync(number: int) -> None:
        flushed.append((os.fstat(number).st_ino, (tmp_path / "out").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with staging_folder(tmp_path / "out") as folder:
        for name in ("config.json", "tokenizer.json"):
            (folder.path / name).write_text("{}")
    written = [(path.stat().st_ino, False) for path in (*sorted((tmp_path / "out").iterdir()), tmp_path / "out")]
    assert flushed == [*written, (tmp_path.stat().st_ino, True)]


def test_a_folder_that_a_killed_import_left_is_removed_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "o[u]t*.writing-01234567").mkdir()
    with staging_folder(tmp_path / "o[u]t*"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["o[u]t*"]


def test_an_error_removes_the_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), staging_folder(tmp_path / "out") as folder:
        folder.path.write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_writes_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_folder, "WAIT_S", 0.05)
    other = tmp_path / "out.writing-01234567"
    other.mkdir()
    lock = os.open(other, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(ModelError), staging_folder(tmp_path / "out"):
        pytest.fail("the folder must not be written")
    assert other.exists()
    os.close(lock)
    with staging_folder(tmp_path / "out"):
        assert not other.exists()


def test_a_target_with_files_is_not_replaced(tmp_path: Path) -> None:
    def add_file() -> None:
        with staging_folder(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "file").write_text("kept")

    with pytest.raises(ModelError):
        add_file()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "file"]


STUB = "import sys\ndef main(has_network):\n    sys.stdin.readline()\n    {}\n"
"""Module of a child that runs another program."""


@pytest.fixture
def published_source(tmp_path: Path) -> Path:
    model = save_tiny_model(tmp_path / "model")
    return publish(tmp_path / "published_source", model, published_tensors(model, "xglm"))


@pytest.mark.thorough("imports checkpoints of many forms")
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
    tmp_path: Path, published_source: Path, monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    (tmp_path / "stub_child.py").write_text(STUB.format(program))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(child_process, "MODULE", "stub_child")
    with pytest.raises(ModelError, match=expected):
        import_model(published_source, tmp_path / "out", report=lambda _: None)
    assert not list(tmp_path.glob("out*"))


def test_a_python_file_in_the_working_folder_is_not_imported_by_the_child(
    tmp_path: Path, published_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (published_source / "torch.py").write_text("raise SystemExit('code of the published_source ran')")
    (published_source / "stub_child.py").write_text("")
    monkeypatch.chdir(published_source)
    monkeypatch.setattr(child_process, "MODULE", "stub_child")
    with pytest.raises(ModelError, match="No module named 'stub_child'"):
        import_model(published_source, tmp_path / "out", report=lambda _: None)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.0, 4.0, 5.0, 6.0])
def test_an_import_killed_at_any_moment_starts_again_cleanly(
    tmp_path: Path, published_source: Path, seconds: float
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ray_jobs.cli", "import", str(published_source), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    assert not out.exists() or (out / "mlprune_import.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out", "published_source"]


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
