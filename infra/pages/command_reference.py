"""The page with every command and option, made from the command line."""

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from infra.pages.page import page
from mlprune.steps.export.model_card import table
from ray_jobs.cli.application import app, load_command

OPENING = """
[command-line.md](../command-line.md) has examples, output and exit codes. `--help` prints the same texts as this page.
"""


def command_reference() -> str:
    """Return the whole page."""
    parts = [OPENING.strip()]
    for name, command in commands():
        parts += [f"## {name}", *_help(command), *_parameters(command)]
    return page("Command reference", parts, source="the command line")


def commands() -> Iterator[tuple[str, Any]]:
    """Yield (name as typed, command) for every command, including those of groups."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]  # it is a group
        for inner in getattr(command, "commands", {"": command}):
            yield f"{name} {inner}".strip(), load_command(f"{name} {inner}".strip())


def _help(command: Any) -> tuple[str, ...]:
    """Return the sentences of a command's help, and its examples as a block."""
    sentences, _, examples = inspect.cleandoc(command.help or "").replace("\b\n", "").partition("\n\nExample")
    lines = [line.strip() for line in examples.partition(":")[2].splitlines() if line.strip()]
    return (sentences, "```\n" + "\n".join(lines) + "\n```") if lines else (sentences,)


def _parameters(command: Any) -> tuple[str, ...]:
    rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
    return (table(("argument or option", "default", "meaning"), rows),) if rows else ()


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_argument = parameter.param_type_name == "argument"
    name = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
    default = "required" if parameter.required else _default(parameter.default)
    return f"`{name}`", default, parameter.help or ""


def _default(value: object) -> str:
    return "" if value is None or value is False or value in ((), [], "") else f"`{value}`"
