"""`mlprune report` and its figures: the catalog's results as an HTML page and as figure files."""

from pathlib import Path
from typing import Annotated

import typer

from catalog.report import FigureSelection, write_figures, write_report
from catalog.store import Catalog
from ray_jobs.cli.known_words import complete_figure, complete_one_of, complete_task
from ray_jobs.cli.options import StoreOption, echo, existing_store, require_output


def report(
    *,
    store: StoreOption,
    out: Annotated[Path, typer.Option(help="HTML file to write; a folder with --figures or --tables.")],
) -> None:
    """Write an HTML report, or figures, tables or a notebook.

    The report is one self-contained file: figures and tables, each with the SQL that produced it.

    Example: mlprune report --store runs/ --out report.html
    """
    require_output(out, is_folder=False)
    with Catalog.open(existing_store(store)) as catalog:
        catalog.fold()
        echo(str(write_report(catalog, out)))


def figures(
    *,
    store: StoreOption,
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    format_: Annotated[
        str, typer.Option("--format", help="File format: pdf or svg.", autocompletion=complete_one_of("pdf", "svg"))
    ] = "pdf",
    figure: Annotated[
        list[str] | None,
        typer.Option(help="Only this figure, for example curves; repeatable.", autocompletion=complete_figure),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this base model; repeatable.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task; repeatable.", autocompletion=complete_task)
    ] = None,
    score: Annotated[list[str] | None, typer.Option(help="Only this score; repeatable.")] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="Only this language pair instead of the mean over pairs; repeatable.")
    ] = None,
    width: Annotated[float, typer.Option(min=3, max=40, help="Width of each figure in inches.")] = 7.0,
) -> None:
    """Write figures for a publication, each with its SQL and its data as CSV.

    Example: mlprune report --figures --store runs/ --out figures/ --figure curves --pair fr-en
    """
    require_output(out, is_folder=True)
    chosen = {"model": model or (), "task": task or (), "score": score or (), "pair": pair or ()}
    selection = FigureSelection(format=format_, figures=tuple(figure or ()), chosen=chosen, width=width)
    with Catalog.open(existing_store(store)) as catalog:
        catalog.fold()
        for path in write_figures(catalog, out, selection):
            echo(str(path))
