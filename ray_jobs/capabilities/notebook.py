"""`mlprune report --notebook`: write a notebook about a store, and open it."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mlprune.capabilities.notebook.notebook_file import FILE_NAMES, write_notebook
from mlprune.errors import BadInputError
from ray_jobs.cli.options import StoreOption, echo, existing_store, require_output
from ray_jobs.process.installed import install_command


def notebook(
    *,
    store: StoreOption,
    jupyter: Annotated[bool, typer.Option("--jupyter", help="For Jupyter instead of marimo.")] = False,
    no_open: Annotated[bool, typer.Option("--no-open", help="Only write the notebook.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; by default mlprune-notebook.py, or mlprune-notebook.ipynb for Jupyter."),
    ] = None,
) -> None:
    """Write a notebook about a store and open it: choose model, task, languages and methods; see curves, heat-maps,
    significant changes, flipped answers and translations, with the SQL of each. Both work without a network; only a
    page that `marimo export html` writes needs one, to load marimo.

    \b
    Examples:
      mlprune report --notebook --store runs/
      mlprune report --notebook --store runs/ --jupyter --no-open --out analysis.ipynb
    """
    existing_store(store)
    command = None if no_open else _jupyter() if jupyter else _marimo()
    path = out or Path(FILE_NAMES["jupyter" if jupyter else "marimo"])
    require_output(path, is_folder=False)
    write_notebook(store if "://" in store else str(Path(store).absolute()), path, "jupyter" if jupyter else "marimo")
    echo(str(path))
    if command is not None:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", *command, str(path)])  # noqa: S606 - it gets the terminal


def _marimo() -> list[str]:
    """Return the program that opens a marimo notebook, on this machine only.

    Raises:
        BadInputError: it is not installed.
    """
    if find_spec("marimo") is None:
        message = "marimo is not installed"
        raise BadInputError(message, expected=f"{install_command('notebook')}, --jupyter or --no-open", got="no marimo")
    return ["marimo", "edit", "--skip-update-check"]


def _jupyter() -> list[str]:
    """Return the program that opens a Jupyter notebook.

    Raises:
        BadInputError: it is not installed.
    """
    for module, words in {"jupyterlab": ["jupyter", "lab"], "notebook": ["jupyter", "notebook"]}.items():
        if find_spec(module) is not None:
            return words
    raise BadInputError(
        "Jupyter is not installed", expected="pip install jupyterlab, or --no-open", got="no jupyterlab"
    )
