"""The commands on the quick start and the study work, and so does the Python page.

By default, blocks marked `sh slow` and those with an answer are skipped, and runs do not use Ray. Everything else runs
as written, in a folder that looks like a clone. `pytest -m slow tests/docs` runs everything in a real shell.
"""

import os
import re
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
TOLERANCE = 0.05
"""Largest allowed difference of an accuracy from the frozen one, on another machine."""


ANSWERED = re.compile(r"```sh\n((?:(?!```).)*)```\n\n```text\n", re.DOTALL)


def blocks_of(page: str, *words: str) -> list[Block]:
    return [block for block in blocks(ROOT / "docs" / page) if block.words in words]


def blocks_without_answer(page: str) -> list[Block]:
    """The blocks that run by default, without those whose output is on the page: `tests/infra/pages` runs and compares
    them."""
    answered = ANSWERED.findall((ROOT / "docs" / page).read_text("utf-8"))
    return [block for block in blocks_of(page, "sh") if block.text not in answered]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a clone, with the frozen stores of the demo and the study."""
    for name in ("docs", "infra", "mlprune"):
        (tmp_path / name).symlink_to(ROOT / name)
    for store in ("demo", "study"):
        thaw(archive_of(store), tmp_path / f"{store}-store")
    return tmp_path


@pytest.fixture
def shell(clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run commands in the clone; runs without an address do not use Ray."""
    monkeypatch.chdir(clone)

    def mlprune(*arguments: str) -> Done:
        alone = ["--address", "none"] if arguments[0] == "run" and "--address" not in arguments else []
        monkeypatch.setattr(sys, "argv", ["mlprune", *arguments, *alone])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return Shell(clone, mlprune)


@pytest.mark.thorough("runs the commands of a page")
def test_the_quick_start_and_the_python_page_run_and_make_their_files(shell: Shell, clone: Path) -> None:
    for block in blocks_without_answer("quick-start.md"):
        shell.run(block.text)
    program = "".join(block.text for block in blocks_of("python.md", "python"))
    imports, opening, rest = program.partition('store = mlprune.open("first-store")')
    exec(compile(imports.partition("store =")[0] + opening + rest, "python.md", "exec"), {})  # before it: pages test
    for path in ("first-store/catalog.duckdb", "pruned-model/model.safetensors", "first.html"):
        assert (clone / path).exists()


@pytest.mark.thorough("runs the commands of a page")
def test_the_study_draws_its_figure(shell: Shell, clone: Path) -> None:
    for block in blocks_without_answer("study.md"):
        shell.run(block.text)
    drawn = (clone / "swahili.svg").read_text(encoding="utf-8")
    assert "<svg" in drawn
    assert len(drawn) == pytest.approx((ROOT / "docs" / "study" / "swahili.svg").stat().st_size, rel=0.2)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Run all blocks of a page in a shell, in a new clone, and return the clone."""
    environment = ROOT / ".venv"
    if not environment.exists():
        pytest.skip("the clone has no .venv: run make test to create it")

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
def test_the_quick_start_runs_in_a_shell_and_its_demo_gives_the_frozen_answers(typed: Callable[[str], Path]) -> None:
    folder = typed("quick-start.md")
    with thawed("demo") as frozen, Catalog.open(Store(folder / "demo-store")) as new, Catalog.in_memory(frozen) as old:
        for question in questions("demo"):
            assert new.select(question.sql).columns == old.select(question.sql).columns
            if question.number in (1, 4, 7):  # contents, best variants and breaking sparsities
                assert_close(new.select(question.sql), old.select(question.sql))


@pytest.mark.slow
def test_the_study_runs_in_a_shell(typed: Callable[[str], Path]) -> None:
    folder = typed("study.md")
    with (
        thawed("study") as frozen,
        Catalog.open(Store(folder / "study-store")) as new,
        Catalog.in_memory(frozen) as old,
    ):
        curve = (ROOT / "docs" / "study" / "curve.sql").read_text(encoding="utf-8")
        assert_close(new.select(curve), old.select(curve))


def assert_close(new: QueryResult, frozen: QueryResult) -> None:
    """Assert that rows are equal, except for differences of numbers between machines."""
    assert len(new.rows) == len(frozen.rows)
    for new_row, frozen_row in zip(new.rows, frozen.rows, strict=True):
        for value, expected in zip(new_row, frozen_row, strict=True):
            assert value == (pytest.approx(expected, abs=TOLERANCE) if isinstance(expected, float) else expected)
