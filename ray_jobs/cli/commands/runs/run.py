"""`mlprune run`: run a recipe."""

from typing import Annotated

import typer

from ray_jobs.cli.options import RecipeArgument, StoreOption

AddressOption = Annotated[
    str,
    typer.Option(
        help="local starts Ray on this machine; auto or ray://... joins a cluster; none runs in this process without "
        "Ray."
    ),
]


def run(recipe: RecipeArgument, *, store: StoreOption, address: AddressOption = "local") -> None:
    """Run a recipe. After an interruption or a failure, rerun the same command: finished jobs are skipped.

    Example: mlprune run recipe.yaml --store runs/ --address local
    """
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415 - commands import lazily, so that --help is fast

    raise typer.Exit(run_recipe(recipe, store, address=address).exit_code)
