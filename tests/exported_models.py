"""Models loaded from exported folders."""

from pathlib import Path
from typing import Any

from mlprune.capabilities.publishing.export import LOADER
from tests.imported_files import imported_file


def loaded_by_its_own_loader(folder: Path) -> Any:
    """Run the loader in a folder of a smaller export, and return the model that it loads."""
    return imported_file(folder / LOADER).load(folder)
