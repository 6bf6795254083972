"""Checks of a recipe before libraries are imported for seconds."""

import os
from collections.abc import Sequence
from pathlib import Path

from mlprune.cache_folders import MODEL_CACHE_VARIABLE
from mlprune.hub import require_hub_or_cache
from mlprune.recipe import IMPORT_KEY, load_recipe, wants_import

IMPORT_KEY_TEXT = f"{IMPORT_KEY}:"


def require_hub_for_import(
    recipe_path: Path, store_uri: str, *, allowed_plugins: Sequence[Path] = (), allow_many: bool = False
) -> None:
    """Check that the hub can be asked for the model that a recipe imports, unless it may be imported already.

    Args:
        allowed_plugins: files of plug-ins that the recipe may name.
        allow_many: as for `load_recipe`.
    Raises:
        RecipeError: the recipe cannot be used.
        HubError: the hub cannot be reached.
    """
    if "://" in store_uri or _exists(Path(store_uri)) or os.environ.get(MODEL_CACHE_VARIABLE):
        return
    if not recipe_path.is_file() or IMPORT_KEY_TEXT.encode() not in recipe_path.read_bytes():
        return
    recipe = load_recipe(recipe_path, allowed_plugins=allowed_plugins, allow_many=allow_many)
    name = recipe.model.path or ""
    if wants_import(recipe.model) and not _exists(recipe.resolve(name)):
        require_hub_or_cache(name, kind="model", revision=recipe.model.revision)


def _exists(path: Path) -> bool:
    """Whether a path exists; False if the system cannot have such a name, which a later check reports."""
    try:
        return path.exists()
    except OSError:
        return False
