"""`mlprune completion`: the script with which a shell completes commands."""

import os
from pathlib import Path
from typing import Annotated

import typer
from typer.completion import get_completion_script, install  # type: ignore[attr-defined]  # typer has no public names

from mlprune.errors import BadInputError, unknown
from ray_jobs.cli.known_words import COMPLETION_VARIABLE, complete_one_of
from ray_jobs.cli.options import PROGRAM, echo

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def completion(
    shell: Annotated[
        str | None,
        typer.Argument(
            help="bash, zsh, fish, powershell or pwsh; by default that of SHELL.",
            autocompletion=complete_one_of(*SHELLS),
        ),
    ] = None,
    *,
    install_: Annotated[
        bool, typer.Option("--install", help="Install it for this user, instead of printing the script.")
    ] = False,
) -> None:
    """Print or install the completion of a shell.

    In a new shell, Tab then completes commands, options, built-in queries and their parameters, formats, figures,
    stores, and a store's variants, tasks and languages.

    \b
    Examples:
      mlprune completion --install
      mlprune completion zsh
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if not name:
        raise BadInputError("the shell is not known", expected=f"one of {', '.join(SHELLS)}", got="no variable SHELL")
    if name not in SHELLS:
        raise unknown("shell", name, SHELLS, error=BadInputError)
    if not install_:
        echo(get_completion_script(prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE, shell=name))
        return
    _, path = install(shell=name, prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE)
    echo(f"{name} completion installed in {path}; start a new shell to use it")
