"""Models loaded from exported folders."""

import importlib.util
from pathlib import Path
from typing import Any

from mlprune.steps.export.smaller import LOADER


def loaded_by_its_own_loader(folder: Path) -> Any:
    """Run the loader in a folder of a smaller export, and return the model that it loads."""
    spec = importlib.util.spec_from_file_location("exported_loader", folder / LOADER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(folder)
