"""`mlprune demo`: run the built-in example."""

from typing import Annotated

import typer

from ray_jobs.cli.options import StoreOption


def demo(
    *,
    store: StoreOption = "./demo-store",
    address: Annotated[str, typer.Option(help="Where to run: local, auto, ray://... or none.")] = "local",
) -> None:
    """Run the built-in example from recipe to report. It takes about five minutes and needs no download.

    Example: mlprune demo --store ./demo-store
    """
    from ray_jobs.cli.demo_text import run_demo  # noqa: PLC0415 - commands import lazily, so that --help is fast

    raise typer.Exit(run_demo(store, address=address))
