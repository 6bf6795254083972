"""`mlprune plan`: show what a recipe would run."""

import typer

from ray_jobs.cli.options import (
    AllowImportOption,
    OtherModelOption,
    RecipeArgument,
    ShrinkOption,
    StoreOption,
    show_start,
)


def plan(
    recipe: RecipeArgument,
    *,
    store: StoreOption,
    shrink: ShrinkOption = None,
    model: OtherModelOption = None,
    allow_import: AllowImportOption = False,
) -> None:
    """Show what a recipe would run, what is already done, and the memory, disk space and time it needs.

    Nothing is run, and nothing is written to the store except imported models. A model that has to be imported first is
    described, and imported with --allow-import.

    Example: mlprune plan recipe.yaml --store runs/
    """
    show_start(f"planning {recipe}: reading its model and texts")
    from ray_jobs.cli.plan_text import describe_plan  # noqa: PLC0415 - commands import lazily, so that --help is fast
    from ray_jobs.driver.changed_recipe import RecipeChanges  # noqa: PLC0415

    typer.echo(describe_plan(recipe, store, changes=RecipeChanges(shrink, model), allow_import=allow_import))
