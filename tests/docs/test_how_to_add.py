"""The page that says how to add an analysis names every file, and its steps add one to a copy of the code."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE, ADDED = "token_share", "letter_share"
SPELLINGS = {EXAMPLE: ADDED, "TOKEN_SHARE": "LETTER_SHARE", "TokenShare": "LetterShare"}
"""Name of the example in modules, constants and classes -> that of the added analysis."""
PACKAGES = ("mlprune", "catalog", "ray_jobs")
RUN = """
import sys
from pathlib import Path
from catalog.store import Catalog
from tests.tiny_recipes import finished_run, small_recipe
recipe = {**small_recipe(), "variants": [], "evaluations": [], "analyses": {"letter_share": ["mt"]}}
run = finished_run(Path(sys.argv[1]), recipe, name="followed")
with Catalog.in_memory(run.store) as catalog:
    for row in catalog.query("FROM letter_shares ORDER BY side"):
        print(row["side"], row["language"], row["n_tokens"] > row["n_distinct"] > 0)
"""


def named_paths() -> set[str]:
    """Return the paths that the numbered steps of "An analysis" name."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (steps,) = re.findall(r"\*\*An analysis\.\*\*.*?\n\n(1\. .*?)\n\n", page, re.DOTALL)
    return {path.rstrip("/") for path in re.findall(r"`([\w/]+/[\w./]+)`", steps)}


def renamed(text: str) -> str:
    for old, new in SPELLINGS.items():
        text = text.replace(old, new)
    return text


def mentions(folder: Path) -> Iterator[str]:
    """Yield the files that name the example, relative to the root; generated ones are left out."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".sql", ".toml", ".yaml") and EXAMPLE in path.read_text("utf-8").lower():
            yield path.relative_to(ROOT).as_posix()


def test_the_page_names_every_file_that_an_analysis_changes() -> None:
    named = named_paths()
    found = {file for name in (*PACKAGES, "tests", "infra") for file in mentions(ROOT / name)}
    found -= {Path(__file__).relative_to(ROOT).as_posix()}
    own = {path for path in named if (ROOT / path).is_dir()}
    elsewhere = {file for file in found if not any(file.startswith(f"{folder}/") for folder in own)}
    assert elsewhere == {path for path in named if not path.endswith((*own, "mlprune/recipe/models.py", "_fields.py"))}
    assert len(elsewhere) <= 4
    assert EXAMPLE not in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.thorough("copies the code and runs a recipe in a process of its own")
def test_the_steps_of_the_page_add_an_analysis(tmp_path: Path, tiny_inputs: Path) -> None:
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in filter(lambda one: one.startswith(PACKAGES), named_paths()):
        copied = tmp_path / path
        if copied.is_dir():
            for file in [one for one in copied.rglob("*") if one.is_file()]:
                target = tmp_path / renamed(file.relative_to(tmp_path).as_posix())
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(renamed(file.read_text("utf-8")), "utf-8")
        else:
            lines = copied.read_text("utf-8").splitlines(keepends=True)
            added = [renamed(line) + line if renamed(line) != line else line for line in lines]
            copied.write_text("".join(added), "utf-8")
    shutil.copytree(tiny_inputs, tmp_path / "inputs")
    command = [sys.executable, "-c", RUN, str(tmp_path / "inputs")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.splitlines() == ["source fr True", "target en True"], done.stderr
