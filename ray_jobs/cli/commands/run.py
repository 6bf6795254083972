"""`mlprune run`: run a recipe."""

from collections.abc import Sequence
from typing import Annotated

import typer

from ray_jobs.cli import options


def run(
    recipe: options.RecipeArgument,
    *,
    store: options.StoreOption,
    address: options.AddressOption = "local",
    set_: options.SettingsOption = None,
    shrink: options.ShrinkOption = None,
    model: options.OtherModelOption = None,
    allow_import: options.AllowImportOption = False,
    allow_plugins: options.AllowPluginsOption = None,
    yes: options.AllowManyOption = False,
    scrub: Annotated[
        bool,
        typer.Option(
            "--scrub",
            help="First read every artefact of this recipe's results, and make those again that differ from their "
            "record.",
        ),
    ] = False,
    remake: Annotated[
        bool, typer.Option("--remake", help="Make the retired files of this recipe again, see mlprune store gc.")
    ] = False,
    remake_only: Annotated[
        list[str] | None,
        typer.Option(
            "--remake-only",
            metavar="VARIANT",
            help="Like --remake, only for this variant (id or name) and for what unfinished jobs need; repeatable.",
        ),
    ] = None,
) -> None:
    """Run a recipe. After an interruption or a failure, rerun the same command: finished jobs are skipped.

    \b
    Examples:
      mlprune run recipe.yaml --store runs/ --address local
      mlprune run recipe.yaml --store runs/ --set evaluations.0.limit=50
      mlprune run recipe.yaml --store trial/ --shrink 4 --model demo
      mlprune run recipe.yaml --store runs/ --remake-only wanda-50
    """
    options.show_start(f"planning {recipe}: reading its model and texts")
    from mlprune.planning.pending import requested_remake  # noqa: PLC0415 - these load torch
    from ray_jobs.driver.changed_recipe import RecipeChanges  # noqa: PLC0415
    from ray_jobs.driver.run_recipe import RunOptions, run_recipe  # noqa: PLC0415

    changes = RecipeChanges(shrink, model, tuple(allow_plugins or ()), allow_many=yes, settings=tuple(set_ or ()))
    wanted = RunOptions(
        allow_import=allow_import, scrubs=scrub, remake=requested_remake(is_of_all=remake, variants=remake_only or ())
    )
    summary = run_recipe(recipe, store, address=address, changes=changes, options=wanted)
    if summary.next_commands:
        show_answers(store, summary.recipe, summary.variants)
    for position, command in enumerate(summary.next_commands):
        line = command.replace(options.PROGRAM, options.called_program(), 1)
        options.echo(f"{'next: ' if position == 0 else '      '}{line}", err=True)
    raise typer.Exit(summary.exit_code)


def show_answers(store_uri: str, recipe: str, variants: Sequence[str]) -> None:
    """Print the answers to the declared questions of a recipe, and the curve of its variants."""
    from catalog.store import Catalog  # noqa: PLC0415 - loads DuckDB
    from catalog.terminal.closing import closing_lines  # noqa: PLC0415
    from mlprune.store.store import Store  # noqa: PLC0415

    with Catalog.open(Store(store_uri)) as catalog:
        lines = closing_lines(catalog, recipe, variants=variants, width=options.screen_width())
    if lines:
        options.echo("\n".join(["", *lines, ""]))
