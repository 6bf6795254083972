"""Which pages are generated, and writing them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from infra.pages.catalog_reference import catalog_reference
from infra.pages.command_reference import command_reference
from infra.pages.cookbook import cookbook
from infra.pages.recipe_reference import recipe_reference

DOCS = Path(__file__).parents[2] / "docs"

PAGES: Mapping[str, Callable[[], str]] = {
    "cookbook.md": cookbook,
    "reference/catalog.md": catalog_reference,
    "reference/commands.md": command_reference,
    "reference/recipe.md": recipe_reference,
}
"""Path below docs/ -> what writes the page."""


def write_pages(folder: Path = DOCS) -> list[Path]:
    """Write all generated pages; returns those that were not as they should be."""
    changed = []
    for name, text in ((name, make()) for name, make in PAGES.items()):
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed
