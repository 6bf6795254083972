"""`mlprune plan`: show what a recipe would run."""

from typing import Annotated

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
    nodes: Annotated[
        list[str] | None,
        typer.Option(
            help="Machines of a cluster to plan for instead of this one, such as 4:cpus=16,gib=64 or "
            "2:cpus=32,gib=256,gpus=8,gpu_gib=80; repeatable."
        ),
    ] = None,
) -> None:
    """Show what a recipe would run, what is already done, and the memory, disk space and time it needs.

    Nothing is run, and nothing is written to the store except imported models. If a model has to be
    imported first, the import is described; with --allow-import it is done.

    Example: mlprune plan recipe.yaml --store runs/
    """
    show_start(f"planning {recipe}: reading its model and texts")
    from ray_jobs.cli.early_checks import require_hub_for_import  # noqa: PLC0415 - commands import lazily

    if model is None:
        require_hub_for_import(recipe, store)
    from ray_jobs.cli.plan_text import describe_plan  # noqa: PLC0415
    from ray_jobs.driver.changed_recipe import RecipeChanges  # noqa: PLC0415
    from ray_jobs.driver.described_nodes import parse_nodes  # noqa: PLC0415

    changes, machines = RecipeChanges(shrink, model), parse_nodes(nodes or [])
    typer.echo(describe_plan(recipe, store, changes=changes, allow_import=allow_import, nodes=machines))
