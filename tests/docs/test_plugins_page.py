"""The page on plug-ins is enough to write one: the tests build its wheel and run its commands with it."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.methods.plugins import SCORE_METHODS
from ray_jobs.cli.application import main
from tests.command_line import Done
from tests.docs.pages import ROOT, blocks
from tests.docs.shell import Shell
from tests.plugin_packages import on_path

PAGE = ROOT / "docs" / "python.md"
MOST_LINES = 40


Mlprune = Callable[..., Done]


def files() -> list[str]:
    """Return the blocks of the page that write the files of the distribution."""
    return [block.text for block in blocks(PAGE) if "cat > cubic/" in block.text]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone, with the wheel of the page's files, unpacked as pip does it."""
    folder = tmp_path_factory.mktemp("plugins-page")
    (folder / "mlprune").symlink_to(ROOT / "mlprune")
    shell = Shell(folder, lambda *_: Done(1, "", "the files need no command"))
    for block in files():
        shell.run(block)
    command = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", "wheels", "./cubic"]
    subprocess.run([sys.executable, "-m", *command], cwd=folder, check=True)
    (wheel,) = (folder / "wheels").glob("cubic_scores-1.0-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder


@pytest.fixture
def mlprune(clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mlprune:
    """Run a command in the clone, in this process."""
    monkeypatch.chdir(clone)

    def run(*arguments: str) -> Done:
        alone = ["--address", "none"] if arguments[0] == "run" else []
        monkeypatch.setattr(sys, "argv", ["mlprune", *arguments, *alone])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return run


def test_the_plugin_has_at_most_40_lines(clone: Path) -> None:
    texts = [(clone / "cubic" / name).read_text() for name in ("pyproject.toml", "cubic_scores.py")]
    assert sum(bool(line.strip()) for text in texts for line in text.splitlines()) <= MOST_LINES


@pytest.fixture(scope="module")
def store() -> str:
    """Name of the store that the commands of the page write."""
    return "cubic-store"


@pytest.mark.thorough("runs the commands of a page")
def test_the_commands_of_the_page_work_with_the_wheel(clone: Path, mlprune: Mlprune, store: str) -> None:
    commands = [block.text for block in blocks(PAGE) if block.words == "sh" and block.text not in files()]
    with on_path(clone / "site"):
        output = "".join(map(Shell(clone, mlprune).run, commands))
        source = SCORE_METHODS.find("cubic")[1]
        (variant, *_) = selected(mlprune, store, "plugins IS NOT NULL")
        assert mlprune("check", "variant", str(variant["variant_id"]), "--store", store).out.startswith("equal")
    assert "|W[i, j]| ** power * ||X_j||_2" in output
    rows = selected(mlprune, store, "score IS NOT NULL")
    assert sorted(str(row["score"]) for row in rows) == ["cubic", "cubic", "wanda"]
    assert len({row["mask_sha256"] for row in rows}) == 2
    assert source is not None
    assert {json.dumps(json.loads(str(row["plugins"])), sort_keys=True) for row in rows if row["plugins"]} == {
        json.dumps({"score": {"name": "cubic", **source.columns}}, sort_keys=True)
    }


@pytest.mark.thorough("runs the commands of a page")
def test_the_catalog_does_not_need_the_plugin_and_verify_names_it(clone: Path, mlprune: Mlprune, store: str) -> None:
    """Without the wheel on the path, in the store of the test before."""
    if not (clone / store).exists():
        pytest.skip("needs the run of the test before")
    (clone / store / "catalog.duckdb").unlink()
    (variant, *_) = selected(mlprune, store, "plugins IS NOT NULL")
    refused = mlprune("check", "variant", str(variant["variant_id"]), "--store", store)
    assert refused.code == 2
    assert "cubic-scores 1.0" in refused.err
    assert "pip install" in refused.err
    assert refused.err.count("\n") == 1


def test_the_description_of_a_variant_names_the_source(clone: Path, mlprune: Mlprune, store: str) -> None:
    """In the store of the tests before."""
    if not (clone / store).exists():
        pytest.skip("needs the run of the tests before")
    query = "SELECT settings FROM internal.variant_descriptions WHERE settings LIKE '%cubic of cubic-scores 1.0 #%'"
    rows = json.loads(mlprune("query", query, "--store", store, "--format", "json").out)
    assert len(rows) == 2
    assert sorted("power 1.0" in row["settings"] for row in rows) == [False, True]


def selected(mlprune: Mlprune, store: str, condition: str) -> list[dict[str, object]]:
    """Return the rows of variants, ordered by id."""
    query = f"SELECT * FROM variants WHERE {condition} ORDER BY variant_id"
    rows: list[dict[str, object]] = json.loads(mlprune("query", query, "--store", store, "--format", "json").out)
    return rows
