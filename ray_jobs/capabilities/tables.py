"""`mlprune report --tables` and `mlprune export --as mlflow`: tables for a publication, and runs of MLflow."""

from pathlib import Path
from typing import Annotated

import typer

from catalog.capabilities.tables import (
    FORMATS,
    build_tables,
    built_in_spec,
    read_spec,
    render_tables,
    table_format,
    write_tables,
)
from catalog.store import Catalog
from mlprune.errors import BadInputError
from ray_jobs.cli.known_words import complete_one_of
from ray_jobs.cli.options import StoreOption, echo, existing_store, require_output
from ray_jobs.process.installed import install_command


def tables(
    *,
    store: StoreOption,
    like: Annotated[
        str | None, typer.Option(help="Ready-made tables; paper has Tables 1 to 4 of Kim et al. 2024.")
    ] = None,
    spec: Annotated[Path | None, typer.Option(help="Your own tables: a YAML file, see docs/report.md.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write files to; without it, tables are printed.")] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="latex, markdown or csv. By default, all formats are written to --out, or Markdown is printed.",
            autocompletion=complete_one_of("latex", "markdown", "csv"),
        ),
    ] = None,
) -> None:
    """Write tables of methods and languages, with intervals in a second table.

    The best value of each column is bold, and significant differences to the dense model are marked.

    \b
    Examples:
      mlprune report --tables --store runs/ --like paper --out tables/
      mlprune report --tables --store runs/ --spec my-tables.yaml --format latex
    """
    if out is not None:
        require_output(out, is_folder=True)
    if (like is None) == (spec is None):
        got = "neither" if like is None else "both"
        raise BadInputError("name the tables to write", expected="--like paper, or --spec FILE", got=got)
    if format_ is not None:
        table_format(format_)
    specs = read_spec(spec) if spec is not None else built_in_spec(like or "")
    with Catalog.open(existing_store(store)) as catalog:
        catalog.fold()
        built = build_tables(catalog, specs)
    for note in built.notes:
        echo(note, err=True)
    if out is None:
        echo(render_tables(built.tables, format_ or "markdown"))
        return
    for path in write_tables(built.tables, out, formats=[format_] if format_ else list(FORMATS)):
        echo(str(path))


def mlflow(
    *,
    store: StoreOption,
    tracking_uri: Annotated[str, typer.Option(help="MLflow tracking URI: a server, a database or a folder.")],
    experiment: Annotated[str, typer.Option(help="Experiment name; created if it does not exist.")] = "mlprune",
) -> None:
    """Send each variant of the recipes to MLflow as a run with its settings and metrics. Needs the extra mlflow.

    Example: mlprune export --as mlflow --store runs/ --tracking-uri http://tracking:5000
    """
    try:
        from catalog.capabilities.tables.mlflow_sink import send_to_mlflow  # noqa: PLC0415 - an extra
    except ImportError as err:
        raise BadInputError("MLflow is not installed", expected=install_command("mlflow"), got=str(err)) from err
    with Catalog.open(existing_store(store)) as catalog:
        catalog.fold()
        n_sent = send_to_mlflow(catalog, tracking_uri=tracking_uri, experiment=experiment)
    echo(f"{n_sent} variants sent to {tracking_uri}")
