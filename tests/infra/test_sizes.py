"""Sizes of modules and folders, as CONTRIBUTING.md sets them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = [path for package in ("mlprune", "catalog", "ray_jobs") for path in (ROOT / package).rglob("*.py")]
MAX_LINES, MAX_MODULES = 450, 30


def test_modules_have_at_most_450_lines() -> None:
    n_lines = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {path: n for path, n in n_lines.items() if n > MAX_LINES} == {}


def test_folders_have_at_most_30_modules() -> None:
    folders = [str(path.parent.relative_to(ROOT)) for path in MODULES if path.name != "__init__.py"]
    assert {folder: n for folder in sorted(set(folders)) if (n := folders.count(folder)) > MAX_MODULES} == {}
