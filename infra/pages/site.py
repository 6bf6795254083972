"""Generated pages, pages with generated answers, and writing them."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.pages.catalog_reference import catalog_reference
from infra.pages.command_reference import command_reference
from infra.pages.cookbook import cookbook
from infra.pages.frozen import archive_of, thaw
from infra.pages.model_reference import model_reference
from infra.pages.recipe_reference import recipe_reference
from infra.pages.transcripts import refreshed

DOCS = Path(__file__).parents[2] / "docs"

PAGES: Mapping[str, Callable[[], str]] = {
    "cookbook.md": cookbook,
    "reference/catalog.md": catalog_reference,
    "reference/commands.md": command_reference,
    "reference/models.md": model_reference,
    "reference/recipe.md": recipe_reference,
}
"""Path below docs/ -> function that makes the page."""

WITH_ANSWERS: Mapping[str, tuple[str, ...]] = {
    "comparison.md": ("comparison", "comparison-languages"),
    "python.md": ("demo",),
    "quick-start.md": ("demo",),
    "study.md": ("study",),
    "study-where.md": ("where", "where-gemma"),
    "study-mix.md": ("which-mix",),
    "study-text.md": ("which-text",),
}
"""Hand-written page -> frozen stores that its commands query, unpacked as NAME-store."""


def wanted_pages() -> dict[Path, str]:
    """Return path -> expected text of every such page."""
    pages = {DOCS / name: make() for name, make in PAGES.items()}
    with tempfile.TemporaryDirectory() as folder:
        for store in sorted({store for stores in WITH_ANSWERS.values() for store in stores}):
            thaw(archive_of(store), Path(folder) / f"{store}-store")
        (Path(folder) / "docs").symlink_to(DOCS)
        answered = {DOCS / name: refreshed((DOCS / name).read_text("utf-8"), Path(folder)) for name in WITH_ANSWERS}
    return pages | answered


def write_pages() -> list[Path]:
    """Write the pages that are out of date, and return their paths."""
    changed = [(path, text) for path, text in wanted_pages().items() if not _is_current(path, text)]
    for path, text in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [path for path, _ in changed]


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text
