"""The page with every command and option, made from the command line."""

import inspect
from collections.abc import Iterator
from typing import Any

from infra.pages.page import capability_note, page
from mlprune import capabilities
from mlprune.capabilities.publishing.model_card import table
from ray_jobs.cli.command_line import Command, load_command
from ray_jobs.cli.command_table import COMMANDS, capability_of

OPENING = """
`--help` prints the texts of the single commands. Every command also has `-h` (`--help`), `-v` (`--verbose`: more log
lines) and `-q` (`--quiet`: only results, errors). `MLPRUNE_STORE` is the default of `--store`. Results go to stdout,
progress and logs to stderr.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an unexpected error; of `check` and `store merge`: something is missing, different or damaged |
| 2 | invalid input: one line says what, where, what was expected and what was found; nothing was written |
| 3 | some jobs failed permanently (table `failures`), or no worker was left; the other jobs are done |
| 130, 143 | stopped by SIGINT (Ctrl-C) or SIGTERM; the same command resumes |

**Names of variants.** A variant is named by its label, which every table shows, by a name that a recipe gives it, by
its id, or by a unique beginning of one of these with at least four characters. If recipes use one name for different
variants, write `recipe/name`. A name that fits several variants is refused with a list of them, except by the commands
that take several: there it stands for all of them. `check variant` refuses the dense variant and variants whose kept
weights have new values.

**Where jobs run.** All addresses write the same records, byte for byte. For a run of a few minutes `none` is fastest,
because Ray needs some seconds to start. On a terminal a run shows one line in place, elsewhere a line every 15 seconds,
or every minute while no job ends. `status` calls a run active if its process is alive on this machine, or if it renewed
a claim or finished a job within the last minute.

**Trying a recipe.** `--set` names a path with positions in lists, counted from 0, before the lists are multiplied out;
a path that the recipe does not have is an error. Of a mixed set, `--shrink` counts each part. `--model` cuts
demonstrations to the positions of its model. The name of the recipe then shows these options.

**Tables.** `0.280 (0.207 to 0.353)` is a value with its interval: `P_ci_low` and `P_ci_high` belong to P. `ci_low` and
`ci_high` belong to the column that they have in the table, view or named query that they come from, as `difference` in
`differences`; they are joined if every row has low <= value <= high, and otherwise shown as they were asked. Columns
of a named query that are the same in every row are above the table; those of your own SQL stay in it. If the store has
only one task, split, metric or language, a named query uses it. `--format csv` and `json` are always complete, with
exact numbers: json is one array of objects, `[]` without rows, with NULL and non-finite numbers as null and timestamps
in ISO 8601. Two columns with the same name are an error.

**Names from other people's records.** All output has control characters and marks of the writing direction as escapes
(`\\x1b`, `\\u202e`). In CSV, the report and the live page, a text that begins with `=`, `+`, `-`, `@` or a tab, and is
not a number, gets an apostrophe in front, so that a spreadsheet does not run it as a formula. json and Parquet have the
exact text.
"""
OF_ALL = frozenset({"help", "verbose", "quiet"})
"""Options of every command, which the opening describes."""


def command_reference() -> str:
    """Return the whole page."""
    parts = [OPENING.strip()]
    for name, command in commands():
        parts += [f"## {name}", *_note(name), *_help(command), *_parameters(command)]
    return page("Command reference", parts, source="the command line")


def commands() -> Iterator[tuple[str, Command]]:
    """Yield (name as typed, command) for every command and each of its forms."""
    for name, source in COMMANDS.items():
        yield name, load_command(name)
        for form in source.forms:
            yield f"{name} {form}", load_command(name, form)


def _note(name: str) -> tuple[str, ...]:
    """Return the note of a command, or of a form of it, whose capability is unstable."""
    command = max((known for known in COMMANDS if f"{name} ".startswith(f"{known} ")), key=len)
    source = COMMANDS[command]
    capability = capability_of(source.forms.get(name.removeprefix(command).strip(), source))
    return (capability_note(capability).strip(),) if capability in capabilities.UNSTABLE else ()


def _help(command: Any) -> tuple[str, ...]:
    """Return the sentences of a command's help, and its examples as a block."""
    sentences, _, examples = inspect.cleandoc(command.help or "").replace("\b\n", "").partition("\n\nExample")
    lines = [line.strip() for line in examples.partition(":")[2].splitlines() if line.strip()]
    return (sentences, "```\n" + "\n".join(lines) + "\n```") if lines else (sentences,)


def _parameters(command: Any) -> tuple[str, ...]:
    shown = [one for one in command.params if one.name not in OF_ALL and not getattr(one, "hidden", False)]
    rows = [_parameter(parameter) for parameter in shown]
    return (table(("argument or option", "default", "meaning"), rows),) if rows else ()


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_argument = parameter.param_type_name == "argument"
    name = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
    default = "required" if parameter.required else _default(parameter.default)
    return f"`{name}`", default, parameter.help or ""


def _default(value: object) -> str:
    return "" if value is None or value is False or value in ((), [], "") else f"`{value}`"
