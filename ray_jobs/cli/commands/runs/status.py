"""`mlprune status`: show the progress of runs."""

import time
from typing import Annotated

import typer

from ray_jobs.cli.options import StoreOption, echo, format_report


def status(
    *,
    store: StoreOption,
    last: Annotated[int, typer.Option(min=1, help="Show this many runs, and every older run that has claims.")] = 3,
    watch: Annotated[float, typer.Option(min=0, help="Refresh every N seconds until no run is active.")] = 0,
) -> None:
    """Show the progress of active runs and how earlier runs ended. It only reads, and needs no catalog.

    Example: mlprune status --store runs/
    """
    from mlprune.store.store import Store  # noqa: PLC0415 - commands import lazily, so that --help is fast
    from ray_jobs.cli.status_text import format_run  # noqa: PLC0415
    from ray_jobs.driver.run_status import store_status  # noqa: PLC0415

    opened = Store(store)
    while True:
        runs = store_status(opened, last=last)
        echo(format_report("\n\n".join(format_run(run) for run in runs)))
        if not watch or all(run.state != "running" for run in runs):
            return
        time.sleep(watch)
        echo()
