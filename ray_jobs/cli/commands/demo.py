"""`mlprune demo`: run the built-in example, and print its answers, the report and commands to try."""

import shlex
import textwrap
from pathlib import Path
from typing import Annotated

import typer

import mlprune.demo
from catalog.report import write_report
from catalog.store import Catalog
from catalog.terminal.closing import closing_lines
from mlprune.store.store import Store
from ray_jobs.cli.known_words import complete_one_of
from ray_jobs.cli.options import StoreOption, called_program, echo, screen_width

RECIPES = Path(mlprune.demo.__file__).parent
RECIPE, FULL_RECIPE = RECIPES / "recipe.yaml", RECIPES / "full.yaml"

ASKED = (
    "Demo: a multilingual model of two million parameters loses a part of its weights. Which texts should choose the "
    "weights, so that other languages than English keep what they can: translations, or texts of one language?"
)
"""What the built-in recipes ask."""
TRY_NEXT = (
    ("Which variant to use, and what English pays:", "{program} query best_by_language --store {store}"),
    ("More questions:", "{program} query --store {store}"),
)
"""What is asked, and the command that answers it; the outputs of both fit one screen of 80 columns and 30 lines."""


def demo(
    *,
    store: StoreOption = "./demo-store",
    address: Annotated[
        str,
        typer.Option(
            help="Where to run: local, auto, ray://... or none.",
            autocompletion=complete_one_of("local", "auto", "none"),
        ),
    ] = "local",
    full: Annotated[
        bool, typer.Option("--full", help="More sources, sparsities, methods and items; about four minutes.")
    ] = False,
) -> None:
    """Run the built-in example from recipe to report. It takes about 75 seconds on two cores and needs no download.

    \b
    Examples:
      mlprune demo --store ./demo-store
      mlprune demo --full --store ./full-store
    """
    raise typer.Exit(run_demo(store, address=address, is_full=full))


def run_demo(store_uri: str, *, address: str, is_full: bool = False) -> int:
    """Run a built-in recipe, write the report and print the answers; returns the exit code of the run."""
    time = "four minutes" if is_full else "75 s"
    text = f"{ASKED} It takes about {time} on two cores, longer if they are busy."
    echo("\n".join(textwrap.wrap(text, screen_width())), err=True)
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415 - loads torch

    summary = run_recipe(FULL_RECIPE if is_full else RECIPE, store_uri, address=address)
    store = Store(store_uri)
    report = (store.local_root or Path()) / "report.html"
    with Catalog.open(store) as catalog:
        if not (summary.did_nothing and report.exists()):
            catalog.fold()
            write_report(catalog, report)
        lines = closing_lines(catalog, summary.recipe, variants=summary.variants, width=screen_width())
    echo("\n".join(["", *lines, ""]))
    echo(f"Look: {_shown(report)}")
    for label, command in TRY_NEXT:
        echo(label)
        echo(f"  {command.format(program=called_program(), store=shlex.quote(store_uri))}")
    return summary.exit_code


def _shown(path: Path) -> str:
    """Return a path as the user would type it: relative to the working directory if it is inside."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)
