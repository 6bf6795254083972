"""`mlprune plan`: show what a recipe would run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mlprune.cache_folders import MODEL_CACHE_VARIABLE
from mlprune.errors import BadInputError
from mlprune.hub import require_hub_or_cache
from mlprune.recipe.base import IMPORT_KEY, wants_import
from mlprune.recipe.loading import load_recipe
from ray_jobs.cli import options

IMPORT_KEY_TEXT = f"{IMPORT_KEY}:"


def plan(
    recipe: options.RecipeArgument,
    *,
    store: options.StoreOption,
    set_: options.SettingsOption = None,
    shrink: options.ShrinkOption = None,
    model: options.OtherModelOption = None,
    allow_import: options.AllowImportOption = False,
    allow_plugins: options.AllowPluginsOption = None,
    yes: options.AllowManyOption = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Machines to plan for instead of this one, such as '8x(16 CPU, 100 GiB, 1 A100-80GB)'; groups are "
            "joined by +."
        ),
    ] = None,
    address: Annotated[
        str, typer.Option(help="local plans for this machine; auto or ray://... for the nodes of a running cluster.")
    ] = "local",
    power: Annotated[
        bool, typer.Option("--power", help="All about what each question can find with its items, and the warnings.")
    ] = False,
) -> None:
    """Show what a recipe would run, and what it needs.

    The plan says what is already done, and the memory, disk space and time of the rest. Nothing is run, and nothing is
    written to the store except imported models. If a model has to be imported first, the import is described; with
    --allow-import it is done.

    \b
    Examples:
      mlprune plan recipe.yaml --store runs/
      mlprune plan recipe.yaml --store runs/ --set evaluations.0.limit=50
    """
    if cluster is not None and address != "local":
        raise BadInputError(
            "a plan is either for described machines or for a running cluster", expected="--cluster or --address"
        )
    options.show_start(f"planning {recipe}: reading its model and texts")
    if model is None and not set_:
        require_hub_for_import(recipe, store, allowed_plugins=allow_plugins or (), allow_many=yes)
    from mlprune.planning.resources.described_cluster import parse_cluster  # noqa: PLC0415 - these load torch
    from ray_jobs.driver.changed_recipe import RecipeChanges  # noqa: PLC0415
    from ray_jobs.driver.describe_recipe import Place, describe_recipe  # noqa: PLC0415

    changes = RecipeChanges(shrink, model, tuple(allow_plugins or ()), allow_many=yes, settings=tuple(set_ or ()))
    place = Place(address, () if cluster is None else parse_cluster(cluster))
    described = describe_recipe(recipe, store, changes=changes, allow_import=allow_import, place=place, has_power=power)
    options.echo(options.format_report(described.text))


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
