"""Processes of runs: environment, signals, imports and GPUs."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import torch

import ray_jobs.process.environment as module
from mlprune.errors import ModelError
from mlprune.planning.resources.node_capacity import Gpu
from ray_jobs.driver import model_imports
from ray_jobs.driver.model_imports import run_import_command
from ray_jobs.process import gpus
from ray_jobs.process.environment import PACKAGES, code_sha256, environment_file, this_environment, this_processor
from ray_jobs.process.gpus import ORDER, VISIBLE, assigned_gpus, nvml_gpus, visible_gpus, visible_numbers
from ray_jobs.process.signals import GracefulShutdown, ignore_signals, preserve_signal_handlers


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with a little code in each of our packages."""
    for package in PACKAGES:
        (tmp_path / package / "inner").mkdir(parents=True)
        (tmp_path / package / "inner" / "one.py").write_text("x = 1\n")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", "-C", folder, *settings, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def commit(code: Path) -> str:
    """The commit that the code was checked out from."""
    git(code, "init", "-q")
    git(code, "add", ".")
    git(code, "commit", "-qm", "code")
    return git(code, "rev-parse", "HEAD").strip()


def test_the_environment_names_code_libraries_and_machine() -> None:
    environment = this_environment()
    assert environment.packages["torch"] == version("torch")
    assert environment.code_sha256 == code_sha256(Path(module.__file__).parents[2])
    assert environment.python.split()[1].count(".") == 2
    assert environment.system
    assert environment.instructions
    assert this_processor().endswith(f" with {environment.instructions}")


def test_equal_environments_have_equal_ids_and_others_do_not() -> None:
    environment = this_environment()
    assert replace(environment, packages=dict(reversed(environment.packages.items()))).id == environment.id
    assert replace(environment, code_sha256="0").id != environment.id
    assert replace(environment, packages={**environment.packages, "torch": "0"}).id != environment.id
    name, content = environment_file(environment)
    assert name == f"environment-{environment.id}"
    assert json.loads(json.dumps(content)) == {**vars(environment), "environment_id": environment.id}


def test_the_hash_of_code_follows_every_source_and_nothing_else(code: Path) -> None:
    before = code_sha256(code)
    (code / "mlprune" / "__pycache__").mkdir()
    (code / "mlprune" / "__pycache__" / "one.py").write_text("cached")
    (code / "mlprune" / "notes.txt").write_text("no code")
    (code / "docs.py").write_text("not ours")
    assert code_sha256(code) == before
    (code / "ray_jobs" / "inner" / "one.py").write_text("x = 2\n")
    assert code_sha256(code) != before


def test_a_working_copy_has_a_commit_and_may_be_modified(code: Path, commit: str) -> None:
    (code / "README.md").write_text("not our code")
    assert module._checked_out(code) == (commit, False)
    (code / "catalog" / "new.py").write_text("")
    assert module._checked_out(code) == (commit, True)


def test_code_inside_another_repository_has_no_commit(code: Path, commit: str) -> None:
    inner = code / "site-packages"
    for package in PACKAGES:
        (inner / package).mkdir(parents=True)
    assert module._checked_out(inner) is None


def test_without_git_there_is_no_commit(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._checked_out(code) is None
    monkeypatch.setenv("PATH", "")
    assert module._checked_out(code) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"url": "https://host/mlprune", "vcs_info": {"vcs": "git", "commit_id": "abc"}}', "abc"),
        ('{"url": "file:///somewhere", "dir_info": {"editable": true}}', None),
        (None, None),
        ("no JSON", None),
    ],
)
def test_an_installation_from_a_repository_has_its_commit(
    monkeypatch: pytest.MonkeyPatch, text: str | None, expected: str | None
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return text

    monkeypatch.setattr(module.Distribution, "from_name", lambda _: Installed())
    assert module._installed_commit() == expected


def as_import(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a script stand for the import; it gets the same arguments."""
    monkeypatch.setattr(model_imports, "COMMAND", (sys.executable, "-c", f"import os, sys, time\n{script}"))


def test_an_import_gets_its_arguments_and_its_progress_goes_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_import(monkeypatch, "os.mkdir(sys.argv[3]); print('advice'); print('half', *sys.argv[4:], file=sys.stderr)")
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

    monkeypatch.setattr(model_imports.sys.stderr, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_import_command("some/model", tmp_path / "model", revision="main")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIG_DFL)


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


UUIDS = ["GPU-aa11", "GPU-ab22", "GPU-cc33"]
GPUS = (Gpu(300, "large"), Gpu(100, "small", has_bfloat16=False), Gpu(200, "medium"))


class PretendedNvml:
    """A driver with three GPUs. It counts how often it was opened and closed."""

    NVMLError = pynvml.NVMLError

    def __init__(self, *, error: str = "") -> None:
        self.error = error
        self.n_open = 0

    def _require(self, function: str) -> None:
        if self.error == function:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlInit(self) -> None:
        self._require("init")
        self.n_open += 1

    def nvmlShutdown(self) -> None:
        self.n_open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(GPUS)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetUUID(self, number: int) -> str:
        return UUIDS[number]

    def nvmlDeviceGetName(self, number: int) -> str:
        return GPUS[number].name

    def nvmlDeviceGetMemoryInfo(self, number: int) -> SimpleNamespace:
        self._require("memory")
        return SimpleNamespace(free=GPUS[number].memory_bytes)

    def nvmlDeviceGetCudaComputeCapability(self, number: int) -> list[int]:
        return [8, 6] if GPUS[number].has_bfloat16 else [7, 5]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> PretendedNvml:
    pretended = PretendedNvml()
    monkeypatch.setattr(gpus, "pynvml", pretended)
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv(ORDER, "PCI_BUS_ID")
    return pretended


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, n: int) -> list[int]:
    """Pretend that torch sees some GPUs; returns the GPUs on which it is asked to open a context."""
    opened: list[int] = []

    def memory(number: int) -> tuple[int, int]:
        opened.append(number)
        return 50, 60

    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"torch {number}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (9, 0) if number else (7, 0))
    return opened


def test_all_gpus_are_measured_and_no_context_is_opened(nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pretend_cuda(monkeypatch, 3)
    assert visible_gpus() == GPUS
    assert (opened, nvml.n_open) == ([], 0)


def test_only_the_visible_gpus_are_measured(nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, 2)
    monkeypatch.setenv(VISIBLE, "2,0")
    assert visible_gpus() == (GPUS[2], GPUS[0])


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("1, 2", [1, 2]),
        ("0,7,1", [0]),
        ("GPU-cc,GPU-aa11", [2, 0]),
        ("GPU-a", []),
        ("MIG-GPU-aa11/1/0", None),
    ],
)
def test_visible_gpus_are_selected_as_cuda_does(visible: str | None, numbers: list[int] | None) -> None:
    assert visible_numbers(visible, UUIDS) == numbers


def test_torch_measures_different_gpus_that_cuda_counts_in_another_order(
    nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_cuda(monkeypatch, 2)
    monkeypatch.setenv(ORDER, "FASTEST_FIRST")
    monkeypatch.setenv(VISIBLE, "0,1")
    assert [gpu.name for gpu in visible_gpus()] == ["torch 0", "torch 1"]
    monkeypatch.setenv(VISIBLE, "GPU-cc,GPU-aa11")
    assert visible_gpus() == (GPUS[2], GPUS[0])
    monkeypatch.setattr(nvml, "nvmlDeviceGetName", lambda _: "large")
    monkeypatch.setenv(VISIBLE, "2,0")
    assert [gpu.memory_bytes for gpu in visible_gpus()] == [200, 300]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        (
            {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"},
            {"PYTORCH_ALLOC_CONF": None, "CUDA_DEVICE_ORDER": "FASTEST_FIRST"},
        ),
    ],
)
def test_processes_count_gpus_by_slot_and_allocate_growing_segments_unless_told_otherwise(
    given: dict[str, str], expected: dict[str, str | None]
) -> None:
    settings = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "CUDA_DEVICE_ORDER")
    environment = {name: value for name, value in os.environ.items() if name not in settings}
    code = f"import json, os, ray_jobs; print(json.dumps({{name: os.environ.get(name) for name in {list(expected)}}}))"
    printed = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **given}, capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(printed) == expected


@pytest.mark.parametrize("error", ["init", "memory"])
def test_without_nvml_torch_measures_the_gpus(error: str, nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.error = error
    opened = pretend_cuda(monkeypatch, 2)
    assert nvml_gpus(None) is None
    assert visible_gpus() == (Gpu(50, "torch 0", has_bfloat16=False), Gpu(50, "torch 1"))
    assert (opened, nvml.n_open) == ([0, 1], 0)


def test_a_machine_without_gpus_has_none(nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, 0)
    assert visible_gpus() == ()


def test_a_process_without_gpus_measures_those_that_ray_assigns(
    nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_cuda(monkeypatch, 0)
    monkeypatch.setenv(VISIBLE, "")
    assert assigned_gpus(2) == (GPUS[1], GPUS[2]), "the two with the least memory"
    monkeypatch.setenv(VISIBLE, "0,2")
    assert assigned_gpus(2) == (GPUS[2], GPUS[0])
    nvml.error = "init"
    assert assigned_gpus(2) == ()
