"""The commands that pages tell a newcomer to type do what the pages say.

The default run leaves out what takes minutes (blocks marked `sh slow`) and gives runs no Ray; all else is done to
the letter, in a folder that looks like a clone. `pytest -m slow tests/docs` does all of it, in a real shell.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.results import QueryResult
from catalog.store import Catalog
from infra.pages.cookbook import questions
from infra.pages.frozen import archive_of, thaw, thawed
from mlprune.store.store import Store
from ray_jobs.cli.application import main
from tests.command_line import Done
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.shell import Shell

MINUTES = 60
ALIKE = 0.05
"""How far an accuracy may be from the frozen one on another machine."""


def blocks_of(page: str, *words: str) -> list[Block]:
    return [block for block in blocks(ROOT / "docs" / page) if block.words in words]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what a clone has, and the finished stores of the demo and the study, without their artefacts."""
    for name in ("docs", "infra", "mlprune"):
        (tmp_path / name).symlink_to(ROOT / name)
    for store in ("demo", "study"):
        thaw(archive_of(store), tmp_path / f"{store}-store")
    return tmp_path


@pytest.fixture
def shell(clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs commands in the clone; a run without an address is one without Ray."""
    monkeypatch.chdir(clone)

    def mlprune(*arguments: str) -> Done:
        alone = ["--address", "none"] if arguments[0] == "run" and "--address" not in arguments else []
        monkeypatch.setattr(sys, "argv", ["mlprune", *arguments, *alone])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return Shell(clone, mlprune)


def test_the_quick_start_leads_to_a_pruned_model_and_the_commands_go_on_from_there(shell: Shell, clone: Path) -> None:
    for page in ("quick-start.md", "command-line.md"):
        for block in blocks_of(page, "sh"):
            shell.run(block.text)
    for made in ("first-store/catalog.duckdb", "pruned-model/model.safetensors", "first.html", "pruned-02/README.md"):
        assert (clone / made).exists()


def test_the_study_draws_its_figure(shell: Shell, clone: Path) -> None:
    for block in blocks_of("study.md", "sh"):
        shell.run(block.text)
    drawn = (clone / "swahili.svg").read_text(encoding="utf-8")
    assert "<svg" in drawn
    assert len(drawn) == pytest.approx((ROOT / "docs" / "study" / "swahili.svg").stat().st_size, rel=0.2)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Types all of a page in a shell, in a clone of its own, and returns the clone."""
    environment = ROOT / ".venv"
    if not environment.exists():
        pytest.skip("there is no .venv in the clone: make test sets it up")

    def typed_in(page: str) -> Path:
        folder = tmp_path_factory.mktemp("typed") / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        (folder / ".venv").symlink_to(environment)
        os.utime(folder / "pyproject.toml", (0, 0))  # older than the environment: make installs nothing into it
        script = "set -eu\n. .venv/bin/activate\n" + "\n".join(b.text for b in blocks_of(page, "sh", "sh slow"))
        subprocess.run(["bash", "-c", script], cwd=folder, check=True, timeout=30 * MINUTES)
        return folder

    return typed_in


@pytest.mark.slow
def test_the_quick_start_can_be_typed_and_its_demo_answers_as_the_frozen_one(typed: Callable[[str], Path]) -> None:
    folder = typed("quick-start.md")
    with thawed("demo") as frozen, Catalog.open(Store(folder / "demo-store")) as ours, Catalog.in_memory(frozen) as old:
        for one in questions():
            assert ours.select(one.sql).columns == old.select(one.sql).columns
            if one.number in (1, 4, 8):  # contents, and accuracies by language and by score
                assert_alike(ours.select(one.sql), old.select(one.sql))


@pytest.mark.slow
def test_the_study_can_be_typed(typed: Callable[[str], Path]) -> None:
    folder = typed("study.md")
    with (
        thawed("study") as frozen,
        Catalog.open(Store(folder / "study-store")) as ours,
        Catalog.in_memory(frozen) as old,
    ):
        curve = (ROOT / "docs" / "study" / "curve.sql").read_text(encoding="utf-8")
        assert_alike(ours.select(curve), old.select(curve))


def assert_alike(ours: QueryResult, frozen: QueryResult) -> None:
    """The same rows, but for what another machine changes in the numbers."""
    assert len(ours.rows) == len(frozen.rows)
    for our, old in zip(ours.rows, frozen.rows, strict=True):
        for mine, other in zip(our, old, strict=True):
            assert mine == (pytest.approx(other, abs=ALIKE) if isinstance(other, float) else other)
