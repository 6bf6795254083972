"""`mlprune report` and `mlprune figures`: what the catalog says, as one page and as files for a publication."""

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[str, typer.Option(help="Folder or object-store URI that holds records and artefacts.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("report")(report)
    app.command("figures")(figures)


def report(
    *,
    store: StoreOption,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
) -> None:
    """Write one self-contained HTML file with figures, each with the SQL it came from.

    Example: mlprune report --store runs/ --out report.html
    """
    from catalog.report import write_report  # noqa: PLC0415
    from catalog.store import Catalog  # noqa: PLC0415
    from ray_jobs.cli.application import _existing  # noqa: PLC0415

    with Catalog.open(_existing(store)) as catalog:
        catalog.fold()
        typer.echo(str(write_report(catalog, out)))


def figures(
    *,
    store: StoreOption,
    out: Annotated[Path, typer.Option(help="The folder to write into.")],
    format_: Annotated[str, typer.Option("--format", help="pdf or svg.")] = "pdf",
    figure: Annotated[list[str] | None, typer.Option(help="Only this figure, such as curves; repeatable.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this base model; repeatable.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None,
    score: Annotated[list[str] | None, typer.Option(help="Only this score; repeatable.")] = None,
    pair: Annotated[list[str] | None, typer.Option(help="This pair, not the means over all; repeatable.")] = None,
    width: Annotated[float, typer.Option(min=3, max=40, help="Width of a figure in inches.")] = 7.0,
) -> None:
    """Write figures for a publication, each with its SQL and its data beside it.

    Example: mlprune figures --store runs/ --out figures/ --figure curves --figure pareto --pair fr-en
    """
    from catalog.report import FigureSelection, write_figures  # noqa: PLC0415
    from catalog.store import Catalog  # noqa: PLC0415
    from ray_jobs.cli.application import _existing  # noqa: PLC0415

    chosen = {"model": model or (), "task": task or (), "score": score or (), "pair": pair or ()}
    wanted = FigureSelection(format=format_, figures=tuple(figure or ()), chosen=chosen, width=width)
    with Catalog.open(_existing(store)) as catalog:
        catalog.fold()
        for path in write_figures(catalog, out, wanted):
            typer.echo(str(path))
