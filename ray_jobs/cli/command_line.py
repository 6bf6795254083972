"""Commands that are loaded when they are used, their forms, and deprecated command lines."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from mlprune import capabilities
from mlprune.deprecation import Deprecated, warn_deprecated
from mlprune.errors import BadInputError, unknown
from ray_jobs.cli.command_table import (
    COMMANDS,
    FORM_OPTIONS,
    OF_0_2,
    OF_CAPABILITIES,
    OLD_NAMES,
    WITH_OLD_OUT,
    CommandSource,
    Form,
    capability_of,
    is_installed,
)
from ray_jobs.cli.options import PROGRAM
from ray_jobs.process.verbosity import set_verbosity

SQL_COMMENT = re.compile(r"--(?![\w-]+=)[^\n]*\s")
"""The beginning of SQL that opens with a comment; an option has no white space, except in a value after `=`."""


class Command(TyperCommand):
    """A command with the options that all commands have, and with forms that have options of their own.

    It takes an argument such as `-- a comment` for SQL, and not for an option.
    """

    forms: Mapping[str, Form] = {}

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the arguments; SQL that begins with a comment gets a line break before it."""
        if self.name in WITH_OLD_OUT and not ctx.resilient_parsing:
            args = self._with_out(args)
        return super().parse_args(ctx, [f"\n{arg}" if SQL_COMMENT.match(arg) else arg for arg in args])

    def _with_out(self, args: list[str]) -> list[str]:
        """Write `--out` before the output if it is the last of too many arguments, as in version 0.2."""
        arguments = [parameter for parameter in self.params if parameter.param_type_name == "argument"]
        places = self._places(args)
        has_out = any(arg.partition("=")[0] == "--out" for arg in args)
        if has_out or any(one.nargs != 1 for one in arguments) or len(places) != len(arguments) + 1:
            return args
        words = " ".join([str(self.name), *(str(one.metavar) for one in arguments)])
        _warn_of_old_name(f"{words} OUT", f"{words} --out OUT", OF_0_2)
        return [*args[: places[-1]], *args[places[-1] + 1 :], f"--out={args[places[-1]]}"]

    def _places(self, args: Sequence[str]) -> list[int]:
        """Return the positions of words that are neither options nor their values."""
        with_value = {name for one in self.params if not getattr(one, "is_flag", False) for name in one.opts}
        is_value = [i > 0 and args[i - 1] in with_value and args[i - 1].startswith("-") for i in range(len(args))]
        return [i for i, arg in enumerate(args) if not is_value[i] and (arg == "-" or not arg.startswith("-"))]

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the options, then those of each form that the command itself lacks."""
        super().format_options(ctx, formatter)
        known = {tuple(parameter.opts) for parameter in self.params}
        words_of: dict[str, list[str]] = {}
        for one, form in self.forms.items():
            words_of.setdefault(form.function, []).append(one)
        for words in words_of.values():
            loaded = load_function(str(self.name), self.forms[words[0]])
            more = [parameter.get_help_record(ctx) for parameter in loaded.params if tuple(parameter.opts) not in known]
            rows = [row for row in more if row is not None]
            if rows:
                with formatter.section(f"With {', '.join(words)}"):
                    formatter.write_dl(rows)


def load_command(command: str, form: str = "") -> Command:
    """Import the module of a command, and build the command from the signature of its function.

    Args:
        command: as the user types it.
        form: the words that choose a form of it.
    Raises:
        BadInputError: it belongs to a capability that is not installed.
    """
    source = COMMANDS[command]
    chosen = source.forms[form] if form else Form(source.function)
    if not is_installed(chosen):
        words, capability = f"{command} {form}".rstrip(), capability_of(chosen)
        message = f"{words} belongs to the capability {capability}, which is not installed"
        raise BadInputError(message, expected="an installation of mlprune with it", got=capabilities.NAMES)
    loaded = load_function(command.rpartition(" ")[2], chosen)
    if not form:
        loaded.forms = installed_forms(command)
        loaded.params += _form_options(loaded.forms)
    return loaded


def installed_forms(command: str) -> Mapping[str, Form]:
    """Return the forms of a command, without those of capabilities that are not installed."""
    return {words: form for words, form in COMMANDS[command].forms.items() if is_installed(form)}


def load_function(name: str, form: Form) -> Command:
    """Build a command from a function; parameters that the form determines are not options."""
    module, _, function = form.function.partition(":")
    path = module if module.startswith(OF_CAPABILITIES) else f"ray_jobs.cli.commands.{module}"
    command = _built(name, getattr(import_module(path), function))
    command.params = [parameter for parameter in command.params if parameter.name not in form.chosen]
    if form.chosen:
        command.callback = partial(cast("Any", command.callback), **form.chosen)
    command.params += _without_value(_built(name, _shared_options).params)
    for parameter in cast("list[Any]", command.params):
        if hasattr(parameter, "display_type"):  # earlier versions of typer have no such lists
            parameter.display_type = partial(_type_of_one, parameter.display_type)
        if parameter.param_type_name == "argument":
            parameter.metavar = parameter.metavar or str(parameter.name).removesuffix("_id").upper()
    return command


def _built(name: str, function: Any) -> Command:
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=Command)(function)
    return cast("Command", typer.main.get_command(alone))


def _type_of_one(display_type: Callable[[Any], str], ctx: Any) -> str:
    """Return the type of one value for the help, such as `<str>` instead of `<list[str]>`."""
    return re.sub(r"<(?:list\[)?(\w+)\]?(?: range)?>", lambda match: f"<{match[1].lower()}>", display_type(ctx))


def _without_value(parameters: list[Any]) -> list[Any]:
    """Make options that only have an effect when they are parsed."""
    for parameter in parameters:
        parameter.expose_value = False
    return parameters


def _shared_options(
    *,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", callback=lambda value: value and set_verbosity(1), help="Write more log lines."
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", callback=lambda value: value and set_verbosity(-1), help="Write only results and errors."
        ),
    ] = False,
) -> None:
    """Declare the options of every command."""


def _form_options(forms: Mapping[str, Form]) -> list[Any]:
    """Return the options that choose a form, for the help and the completion: `select_form` reads them."""
    values: dict[str, list[str]] = {}
    for words in forms:
        option, _, value = words.partition(" ")
        if option.startswith("-"):
            values.setdefault(option, []).extend([value] if value else [])
    parameters = [_form_option(option, values[option]) for option in values]

    def declared() -> None:
        """Declare the options."""

    declared.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    declared.__annotations__ = {one.name: one.annotation for one in parameters}
    return _without_value(_built("form", declared).params)


def _form_option(option: str, values: Sequence[str]) -> inspect.Parameter:
    """Declare an option that chooses a form: a flag if it has no values."""
    help_ = FORM_OPTIONS[option]
    name = f"{option.strip('-')}_"
    if not values:
        return inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option(option, help=help_)],
        )
    listed = typer.Option(
        option,
        metavar="FORMAT",
        help=f"{help_} Or: {', '.join(values[1:])}.",
        autocompletion=lambda incomplete: [value for value in values if value.startswith(incomplete)],
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, listed]
    )


def select_form(command: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the words that choose a form of a command, "" for none, and the other arguments.

    Raises:
        BadInputError: the form is unknown, or two are chosen.
    """
    forms = COMMANDS[command].forms if command in COMMANDS else {}
    with_value = {words.partition(" ")[0] for words in forms if " " in words}
    chosen, others = "", []
    rest = iter(arguments)
    for argument in rest:
        option, has_value, value = argument.partition("=")
        if argument == "--":
            others += [argument, *rest]
        elif option in with_value:
            words = f"{option} {value if has_value else next(rest, '')}"
            if words == f"{option} ":
                return "", list(arguments)
            if words not in forms:
                known = [one.partition(" ")[2] for one in installed_forms(command)]
                raise unknown("format", words.partition(" ")[2], known, error=BadInputError, option=option)
            chosen = words
        elif argument in forms:
            if chosen not in ("", argument):
                raise BadInputError("two options exclude each other", expected=f"{chosen} or {argument}", got="both")
            chosen = argument
        else:
            others.append(argument)
    return chosen, others


class CommandGroup(TyperGroup):
    """A group that lists its commands with their summaries, and loads a command when it is used."""

    def __init__(self, *, name: str, commands: Mapping[str, Any], **attributes: Any) -> None:
        self._prefix = "" if name == PROGRAM else f"{name} "
        group = self._prefix.rstrip()
        members = [command for command in COMMANDS if command.rpartition(" ")[0] == group]
        sources = {command.removeprefix(self._prefix): COMMANDS[command] for command in members}
        every = {name: _listed(name, source) for name, source in sources.items()} | dict(commands)
        order = dict.fromkeys(command.removeprefix(self._prefix).partition(" ")[0] for command in COMMANDS)
        super().__init__(
            name=name, commands={member: every[member] for member in order if member in every}, **attributes
        )

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the arguments; deprecated ones are rewritten."""
        if not self._prefix:
            set_verbosity(0)
            args = present_arguments(args, shows=not ctx.resilient_parsing)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, Any, list[str]]:  # type: ignore[override]
        """Return the name, the loaded command and the other arguments."""
        name, command, others = super().resolve_command(ctx, args)
        full_name = f"{self._prefix}{name}"
        if full_name not in COMMANDS or (ctx.resilient_parsing and not is_installed(COMMANDS[full_name])):
            return name, command, others
        try:
            form, others = select_form(full_name, others)
            loaded = load_command(full_name, form)
        except BadInputError:
            if not ctx.resilient_parsing:
                raise
            form, loaded = "", load_command(full_name)
        return f"{name} {form}".rstrip(), loaded, others


def _listed(name: str, source: CommandSource) -> TyperCommand:
    """Return what a group lists of a command; it is replaced when the command is used."""
    return TyperCommand(name, help=source.summary, hidden=not is_installed(source))


def present_arguments(arguments: Sequence[str], *, shows: bool = True) -> list[str]:
    """Rewrite a command line with deprecated names.

    Args:
        shows: whether to warn.
    """
    for n_words in (2, 1):
        old = " ".join(arguments[:n_words])
        if old not in OLD_NAMES:
            continue
        command, options, default, declaration = OLD_NAMES[old]
        others = [_renamed(argument, options) for argument in arguments[n_words:]]
        is_old = command != old or others != list(arguments[n_words:])
        words = [*command.split(), *others]
        given = {argument.partition("=")[0] for argument in words}
        added = default.split() if default.partition(" ")[0] not in given else []
        if shows and is_old:
            changed = [option for option in options if option in arguments]
            new = " ".join([command, *added, *(options[one] for one in changed)])
            _warn_of_old_name(" ".join([old, *changed]), new, declaration)
        return [*words, *added]
    return list(arguments)


def _renamed(argument: str, options: Mapping[str, str]) -> str:
    name, has_value, value = argument.partition("=")
    return f"{options[name]}{has_value}{value}" if name in options else argument


def _warn_of_old_name(old: str, new: str, declaration: Deprecated) -> None:
    warn_deprecated(old, replace(declaration, use=new), stacklevel=2)
