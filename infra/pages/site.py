"""Generated pages, pages with generated answers, and writing them."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.pages.catalog_reference import catalog_reference, table_reference
from infra.pages.command_reference import command_reference
from infra.pages.cookbook import cookbook
from infra.pages.frozen import archive_of, thaw
from infra.pages.model_reference import model_reference
from infra.pages.recipe_reference import recipe_reference
from infra.pages.results import results
from infra.pages.transcripts import refreshed

DOCS = Path(__file__).parents[2] / "docs"

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/catalog.md": catalog_reference,
    "reference/commands.md": command_reference,
    "reference/cookbook.md": cookbook,
    "reference/models.md": model_reference,
    "reference/recipe.md": recipe_reference,
    "reference/tables.md": table_reference,
    "results.md": results,
}
"""Path below docs/ -> function that makes the page."""

WITH_ANSWERS: Mapping[str, tuple[str, ...]] = {
    "python.md": ("demo",),
    "quick-start.md": ("demo",),
    "report.md": ("demo",),
    "studies/README.md": (
        "which-text",
        "which-mix",
        "where-gemma",
        "where",
        "comparison",
        "comparison-languages",
        "bits-gemma",
    ),
    "study.md": ("study",),
}
"""Hand-written page -> frozen stores that its commands query, unpacked as NAME-store."""


def wanted_page(name: str) -> str:
    """Return the expected text of a page of `PAGES` or `WITH_ANSWERS`."""
    if name in PAGES:
        return PAGES[name]()
    with tempfile.TemporaryDirectory() as folder:
        for store in WITH_ANSWERS[name]:
            thaw(archive_of(store), Path(folder) / f"{store}-store")
        (Path(folder) / "docs").symlink_to(DOCS)
        return refreshed((DOCS / name).read_text("utf-8"), Path(folder))


def write_pages() -> list[Path]:
    """Write the pages that are out of date, and return their paths."""
    wanted = {DOCS / name: wanted_page(name) for name in (*PAGES, *WITH_ANSWERS)}
    changed = [(path, text) for path, text in wanted.items() if not _is_current(path, text)]
    for path, text in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [path for path, _ in changed]


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text
