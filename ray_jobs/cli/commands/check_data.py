"""`mlprune data`: check data at a path."""

from pathlib import Path
from typing import Annotated

import typer

from ray_jobs.cli.options import echo


def check(
    path: Annotated[str, typer.Argument(help="File or folder, as it was published.")],
    *,
    task: Annotated[str | None, typer.Option("--task", help="Task that will read the data.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="The only split to read.")] = None,
) -> None:
    """Show which published layout a path has, with its languages, splits, examples, labels and problems.

    Nothing is written. Exit code 1 means that a recipe would be refused.

    Example: mlprune data check flores200_dataset
    """
    from ray_jobs.cli.data_text import describe_data  # noqa: PLC0415 - commands import lazily

    text, n_problems = describe_data(Path(path), task=task, split=split)
    echo(text)
    if n_problems:
        raise typer.Exit(1)
