"""The command line. stdout carries results, stderr progress and logs.

Exit codes: 0 done, 1 unexpected error, 2 bad input (one line), 3 some jobs failed, 130 and 143 stopped by SIGINT and
SIGTERM.
"""

import logging
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler

from mlprune import __version__
from mlprune.errors import BadInputError
from ray_jobs.cli.commands import harness, report, rescore, store
from ray_jobs.driver.signals import GracefulShutdown

DONE, BAD_INPUT = 0, 2

app = typer.Typer(
    name="mlprune",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Prune multilingual language models with translation demonstrations, evaluate every variant in many "
    "languages, and ask the catalog about it in SQL.\n\nBegin with: mlprune demo",
)
catalog_app = typer.Typer(
    no_args_is_help=True, help="Look after the catalog of a store.\n\nExample: mlprune catalog check --store runs/"
)
app.add_typer(catalog_app, name="catalog")
store.register(app, catalog_app)

StoreOption = Annotated[
    str, typer.Option("--store", help="Folder or object-store URI that holds records and artefacts.")
]
RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, a YAML file.")]


def _say_version(*, is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"mlprune {__version__}")
        raise typer.Exit


@app.callback()
def begin(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _say_version(is_asked=value),
            is_eager=True,
            help="Say which version this is.",
        ),
    ] = False,
) -> None:
    """Look at what all commands share."""


@app.command()
def demo(
    store: StoreOption = "./demo-store",
    address: Annotated[str, typer.Option(help="Where to run: local, auto, ray://... or none.")] = "local",
) -> None:
    """Run the main job on the embedded model and corpus, from recipe to report, in about five minutes.

    Example: mlprune demo --store ./demo-store
    """
    from ray_jobs.cli.demo import run_demo  # noqa: PLC0415 - commands import what they need, so that --help is quick

    raise typer.Exit(run_demo(store, address=address))


@app.command()
def plan(recipe: RecipeArgument, store: StoreOption) -> None:
    """Say what a recipe would run, what is done already, and what it needs; run and write nothing.

    Example: mlprune plan recipe.yaml --store runs/
    """
    from ray_jobs.cli.plan_text import describe_plan  # noqa: PLC0415

    typer.echo(describe_plan(recipe, store))


@app.command()
def run(
    recipe: RecipeArgument,
    store: StoreOption,
    address: Annotated[
        str,
        typer.Option(help="local starts Ray here; auto or ray://... joins a cluster; none uses this process alone."),
    ] = "local",
) -> None:
    """Carry out a recipe. Run again after any fault, it does what is left.

    Example: mlprune run recipe.yaml --store runs/ --address local
    """
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415

    raise typer.Exit(run_recipe(recipe, store, address=address).exit_code)


@app.command()
def export(
    variant_id: Annotated[str, typer.Argument(help="Id of a variant, as the catalog has it.")],
    out_dir: Annotated[Path, typer.Argument(help="Folder to write; must not exist or be empty.")],
    store: StoreOption,
    model: Annotated[Path | None, typer.Option(help="The base model's folder, if it is not where it was.")] = None,
) -> None:
    """Write a variant as a Hugging Face directory: safetensors, tokenizer, model card.

    Example: mlprune export 0f3a... exported/ --store runs/
    """
    from mlprune.steps.export.export import export_variant, find_base_model  # noqa: PLC0415
    from mlprune.store.store import Store  # noqa: PLC0415

    opened = _existing(store)
    record = opened.read_record("variants", variant_id)
    base_model = model or (find_base_model(opened, record.parents["base_model"]) if record else Path())
    export_variant(Store(store), variant_id, base_model, out_dir)
    typer.echo(str(out_dir))


@app.command()
def verify(
    variant_id: Annotated[str, typer.Argument(help="Id of a variant, as the catalog has it.")],
    store: StoreOption,
    model: Annotated[Path | None, typer.Option(help="The base model's folder, if it is not where it was.")] = None,
) -> None:
    """Rebuild a variant's masks from stored statistics, without the model's forward pass, and compare fingerprints.

    Example: mlprune verify 0f3a... --store runs/
    """
    from mlprune.steps.export.export import find_base_model, variant_record  # noqa: PLC0415
    from mlprune.steps.prune.verify import verify_variant  # noqa: PLC0415

    opened = _existing(store)
    record = variant_record(opened, variant_id)
    found = verify_variant(opened, record, model or find_base_model(opened, record.parents["base_model"]))
    typer.echo(f"{'equal' if found.is_equal else 'different'}: record {found.expected}, rebuilt {found.found}")
    if not found.is_equal:
        raise typer.Exit(1)


@app.command()
def query(
    sql_or_name: Annotated[str, typer.Argument(help="SQL, a .sql file, or the name of a query that mlprune has.")] = "",
    store: StoreOption = "./demo-store",
    param: Annotated[list[str] | None, typer.Option(help="A parameter of the query, name=value.")] = None,
    format_: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
    list_: Annotated[bool, typer.Option("--list", help="List the named queries.")] = False,
) -> None:
    """Ask the catalog.

    Examples:
      mlprune query best_by_language --store runs/ --param task=facts
      mlprune query "SELECT language, value FROM metrics LIMIT 5" --store runs/ --format json
      mlprune query my-question.sql --store runs/
    """
    from catalog.queries import ask, list_queries, render  # noqa: PLC0415
    from catalog.store import Catalog  # noqa: PLC0415

    if list_:
        for known in list_queries():
            typer.echo(f"{known.name}: {known.summary}")
        return
    with Catalog.open(_existing(store)) as catalog:
        catalog.fold()
        typer.echo(render(ask(catalog, sql_or_name, param or []), format_))


@app.command()
def status(
    store: StoreOption,
    last: Annotated[int, typer.Option(help="How many runs to show at most, beyond those that hold claims.", min=1)] = 3,
    watch: Annotated[float, typer.Option(help="Look again every so many seconds, until none is running.", min=0)] = 0,
) -> None:
    """Say how far runs are that go on elsewhere, or how they ended; reads only, and needs no catalog.

    Example: mlprune status --store runs/
    """
    from mlprune.store.store import Store  # noqa: PLC0415
    from ray_jobs.cli.status_text import in_words  # noqa: PLC0415
    from ray_jobs.driver.run_status import store_status  # noqa: PLC0415

    opened = Store(store)
    while True:
        runs = store_status(opened, last=last)
        typer.echo("\n\n".join(in_words(run) for run in runs))
        if not watch or all(run.state != "running" for run in runs):
            return
        time.sleep(watch)
        typer.echo()


@catalog_app.command()
def rebuild(store: StoreOption) -> None:
    """Make the catalog file anew from the records.

    Example: mlprune catalog rebuild --store runs/
    """
    from catalog.store import rebuild as rebuild_catalog  # noqa: PLC0415

    result = rebuild_catalog(_existing(store))
    typer.echo(f"{result.n_records} records, {result.n_rows} rows")


@catalog_app.command()
def check(store: StoreOption) -> None:
    """Verify every record, artefact, key and view; ends 1 with one line per damage.

    Example: mlprune catalog check --store runs/
    """
    from catalog.check import check as check_store  # noqa: PLC0415

    damages, notes = check_store(_existing(store))
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    for damage in damages:
        typer.echo(str(damage))
    if damages:
        raise typer.Exit(1)
    typer.echo("sound")


report.add_to(app)
rescore.add_to(app)
harness.add_to(app)


def _existing(uri: str):  # type: ignore[no-untyped-def]  # Store is imported late
    """A store that is there.

    Raises:
        StoreError: it is not.
    """
    from mlprune.errors import StoreError  # noqa: PLC0415
    from mlprune.store.store import Store  # noqa: PLC0415

    store = Store(uri)
    if not store.list("records"):
        raise StoreError("the store has no records", store=uri, expected="a store that a run wrote to", got="none")
    return store


def main() -> None:
    """Entry point: errors about input become one line and exit code 2."""
    handler = RichHandler(show_path=False, show_time=False, markup=False)
    handler.console.stderr = True
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    with GracefulShutdown() as stoppable:
        try:
            app()
        except BadInputError as err:
            sys.stderr.write(f"mlprune: {err}\n")
            sys.exit(BAD_INPUT)
        except (KeyboardInterrupt, SystemExit) as end:
            if stoppable.number is None and isinstance(end, SystemExit) and end.code != signal.SIGTERM:
                raise
            # Ray's own handler, in force while it starts, ends with the bare number of the signal
            stoppable.number = stoppable.number or signal.SIGTERM
            sys.stderr.write("mlprune: stopped; the same command goes on where this one stopped\n")
            sys.exit(stoppable.exit_code)


if __name__ == "__main__":
    main()
