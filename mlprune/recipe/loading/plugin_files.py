"""Files of plug-ins that a recipe names: each has to be allowed on the command line before its code may run."""

from collections.abc import Sequence
from pathlib import Path

from mlprune.errors import PluginError, RecipeError
from mlprune.methods.plugins import provide_file

PLUGINS = "plugins"
"""Key of a recipe with the files."""
ALLOW_PLUGINS = "--allow-plugins"


def provide_plugins(files: object, *, folder: Path, allowed: Sequence[Path], where: str) -> None:
    """Let this process use the plug-in files of a recipe.

    Args:
        files: value of the key; relative paths start at the recipe's folder.
        allowed: files on the command line.
        where: the recipe, for messages.
    Raises:
        RecipeError: a file is not allowed, or cannot be read.
    """
    if not isinstance(files, list | tuple) or not all(isinstance(name, str) and name for name in files):
        raise RecipeError("plugins is not a list of files", where=where, expected="plugins: [my_score.py]", got=files)
    resolved = {path.expanduser().resolve() for path in allowed}
    for name in files:
        path = (folder / name).resolve()
        if path not in resolved:
            message = "the recipe names a plug-in file that the command line does not allow"
            raise RecipeError(message, where=where, key=PLUGINS, got=name, next=f"read it, then {ALLOW_PLUGINS} {path}")
        try:
            provide_file(path)
        except PluginError as err:
            raise RecipeError(err.message, err.context, where=where, key=PLUGINS) from err
