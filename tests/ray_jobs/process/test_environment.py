"""Environments: equal for equal code and libraries, different otherwise."""

import json
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

import ray_jobs.process.environment as module
from ray_jobs.process.environment import PACKAGES, code_sha256, environment_file, this_environment, this_processor


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
