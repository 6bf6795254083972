"""`mlprune plan`: show what a recipe would run."""

from typing import Annotated

import typer

from mlprune.errors import BadInputError
from ray_jobs.cli.options import (
    AllowImportOption,
    AllowManyOption,
    AllowPluginsOption,
    OtherModelOption,
    RecipeArgument,
    ShrinkOption,
    StoreOption,
    echo,
    format_report,
    show_start,
)


def plan(
    recipe: RecipeArgument,
    *,
    store: StoreOption,
    shrink: ShrinkOption = None,
    model: OtherModelOption = None,
    allow_import: AllowImportOption = False,
    allow_plugins: AllowPluginsOption = None,
    yes: AllowManyOption = False,
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
) -> None:
    """Show what a recipe would run, what is already done, and the memory, disk space and time it needs.

    Nothing is run, and nothing is written to the store except imported models. If a model has to be
    imported first, the import is described; with --allow-import it is done.

    Example: mlprune plan recipe.yaml --store runs/
    """
    if cluster is not None and address != "local":
        raise BadInputError(
            "a plan is either for described machines or for a running cluster", expected="--cluster or --address"
        )
    show_start(f"planning {recipe}: reading its model and texts")
    from ray_jobs.cli.early_checks import require_hub_for_import  # noqa: PLC0415 - commands import lazily

    if model is None:
        require_hub_for_import(recipe, store, allowed_plugins=allow_plugins or (), allow_many=yes)
    from mlprune.plan.resources.described_cluster import parse_cluster  # noqa: PLC0415
    from ray_jobs.cli.plan_text import described_plan  # noqa: PLC0415
    from ray_jobs.driver.changed_recipe import RecipeChanges  # noqa: PLC0415

    changes = RecipeChanges(shrink, model, tuple(allow_plugins or ()), allow_many=yes)
    nodes = () if cluster is None else parse_cluster(cluster)
    described = described_plan(recipe, store, changes=changes, allow_import=allow_import, nodes=nodes, address=address)
    echo(format_report(described.text))
