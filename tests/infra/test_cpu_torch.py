"""The script that takes the CPU build of torch where a plain install would take a CUDA build."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).parents[2]
NO_INDEX = "http://127.0.0.1:9"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia/version").exists(),
    reason="the script acts on Linux without an NVIDIA driver",
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a package index with torch."""
    folder = tmp_path_factory.mktemp("index")
    (folder / "torch").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)


def installed(
    folder: Path, index: str, *, settings: str = "", has_torch: bool = False, more: Mapping[str, str] | None = None
) -> tuple[list[str], str]:
    """Run the script with a pip that writes down what it installs; return its arguments, and what the script says.

    Args:
        settings: what pip's settings are.
        more: text of further programs by their names.
    """
    (folder / "python").symlink_to(sys.executable)
    (folder / "settings").write_text(settings, "utf-8")
    script(
        folder / "pip",
        f"case $1 in\nconfig) cat {folder}/settings ;;\nshow) exit {0 if has_torch else 1} ;;\n"
        f'install) echo "$@" > {folder}/installed ;;\nesac',
    )
    for name, text in (more or {}).items():
        script(folder / name, text)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "TORCH_CPU_INDEX": index}
    command = [ROOT / "infra/cpu_torch.sh", folder / "pip"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    record = folder / "installed"
    return (record.read_text("utf-8").split() if record.exists() else []), done.stderr


def test_without_a_driver_torch_comes_from_the_index_of_cpu_builds(tmp_path: Path, index: str) -> None:
    arguments, _ = installed(tmp_path, index)
    (bound,) = (
        line
        for line in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
        if line.startswith("torch")
    )
    assert arguments[-3:] == ["--extra-index-url", index, bound]


@pytest.mark.parametrize("setting", ["index-url", "extra-index-url", "no-index", "find-links"])
def test_where_pip_is_told_to_look_it_looks(tmp_path: Path, index: str, setting: str) -> None:
    assert installed(tmp_path, index, settings=f":env:.{setting}='somewhere'\n") == ([], "")


def test_however_much_pip_says_after_the_place_it_looks_there(tmp_path: Path, index: str) -> None:
    settings = "global.find-links='somewhere'\n" + 50_000 * "global.other='x'\n"
    assert installed(tmp_path, index, settings=settings) == ([], "")


def test_an_installed_torch_stays(tmp_path: Path, index: str) -> None:
    assert installed(tmp_path, index, has_torch=True) == ([], "")


def test_with_a_driver_pip_chooses(tmp_path: Path, index: str) -> None:
    assert installed(tmp_path, index, more={"nvidia-smi": "exit 0"}) == ([], "")


def test_an_index_that_does_not_answer_is_named_and_nothing_fails(tmp_path: Path) -> None:
    arguments, said = installed(tmp_path, NO_INDEX)
    assert arguments == []
    assert NO_INDEX in said
    assert "3 GB" in said


def test_a_failed_install_leaves_the_choice_to_pip(tmp_path: Path, index: str) -> None:
    arguments, said = installed(tmp_path, index, more={"pip": "[ $1 = config ]"})
    assert arguments == []
    assert "3 GB" in said
