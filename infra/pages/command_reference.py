"""The page with every command and option, made from the command line."""

import inspect
from collections.abc import Iterator
from typing import Any

from infra.pages.page import page
from mlprune.steps.export.model_card import table
from ray_jobs.cli.command_line import Command, load_command
from ray_jobs.cli.command_table import COMMANDS

OPENING = """
[command-line.md](../command-line.md) has examples, output and exit codes. `--help` prints the same texts as this page.
Every command also has `-h` (`--help`), `-v` (`--verbose`: more log lines) and `-q` (`--quiet`: only results, errors).
`MLPRUNE_STORE` is the default of `--store`.
"""
OF_ALL = frozenset({"help", "verbose", "quiet"})
"""Options of every command, which the opening describes."""


def command_reference() -> str:
    """Return the whole page."""
    parts = [OPENING.strip()]
    for name, command in commands():
        parts += [f"## {name}", *_help(command), *_parameters(command)]
    return page("Command reference", parts, source="the command line")


def commands() -> Iterator[tuple[str, Command]]:
    """Yield (name as typed, command) for every command and each of its forms."""
    for name, source in COMMANDS.items():
        yield name, load_command(name)
        for form in source.forms:
            yield f"{name} {form}", load_command(name, form)


def _help(command: Any) -> tuple[str, ...]:
    """Return the sentences of a command's help, and its examples as a block."""
    sentences, _, examples = inspect.cleandoc(command.help or "").replace("\b\n", "").partition("\n\nExample")
    lines = [line.strip() for line in examples.partition(":")[2].splitlines() if line.strip()]
    return (sentences, "```\n" + "\n".join(lines) + "\n```") if lines else (sentences,)


def _parameters(command: Any) -> tuple[str, ...]:
    rows = [_parameter(parameter) for parameter in command.params if parameter.name not in OF_ALL]
    return (table(("argument or option", "default", "meaning"), rows),) if rows else ()


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_argument = parameter.param_type_name == "argument"
    name = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
    default = "required" if parameter.required else _default(parameter.default)
    return f"`{name}`", default, parameter.help or ""


def _default(value: object) -> str:
    return "" if value is None or value is False or value in ((), [], "") else f"`{value}`"
