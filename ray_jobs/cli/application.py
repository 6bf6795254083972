"""The command line. stdout carries results, stderr progress and logs.

Exit codes: 0 done, 1 unexpected error or failed check, 2 bad input (one line), 3 some jobs failed, 130 and 143 stopped
by SIGINT and SIGTERM.

To add a command, write a module in `commands` and list its function in `COMMANDS`. A module of a command is imported
when the command is called or completed, or its help is shown. It may import the catalog, but not torch, Ray or
transformers: functions import these, after what can be checked without them.
"""

import logging
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple, cast
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand, TyperGroup

from catalog.results import visible
from mlprune import __version__
from mlprune.errors import BadInputError
from ray_jobs.cli.options import PROGRAM, echo
from ray_jobs.process.signals import GracefulShutdown

BAD_INPUT = 2
CommandLineError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""Root of the errors of the library below typer, which is click or typer's copy of it."""
SQL_COMMENT = re.compile(r"--(?![\w-]+=)[^\n]*\s")
"""The beginning of SQL that opens with a comment; an option has no white space, except in a value after `=`."""
PLAIN_WORDS: Mapping[str, str] = {
    r"Input should be greater than or equal to ": "expected at least ",
    r"Input should be less than or equal to ": "expected at most ",
    r"Input should be a valid (\w+).*": r"expected a value of type \1",
    r"Input should be ": "expected ",
}
"""Pattern of a phrase in an error of the library below typer -> what the user reads."""


class CommandSource(NamedTuple):
    """Where a command is defined."""

    function: str
    """`module:function`, the module below `ray_jobs.cli.commands`."""
    summary: str
    """First sentence of its help, which may be cut off after 80 characters."""


COMMANDS: Mapping[str, CommandSource] = {
    "demo": CommandSource("demo:demo", "Run the built-in example from recipe to report."),
    "import": CommandSource("import_model:import_", "Import a published checkpoint into a model folder."),
    "plan": CommandSource(
        "plan:plan",
        "Show what a recipe would run, what is already done, and the memory, disk space and time it needs.",
    ),
    "run": CommandSource("run:run", "Run a recipe."),
    "status": CommandSource("status:status", "Show the progress of active runs and how earlier runs ended."),
    "serve": CommandSource(
        "serve:serve",
        "Serve a page that follows the runs of a store: progress, best so far, failures, SQL and the report.",
    ),
    "doctor": CommandSource(
        "doctor:doctor",
        "Say what this machine, Ray, the GPUs, a store and a recipe lack, each with the command that helps.",
    ),
    "methods": CommandSource(
        "methods:methods",
        "Show what goes together in a variant: score, structure, schedule, refiner and aggregation.",
    ),
    "query": CommandSource("query:query", "Query the catalog with SQL or with a built-in query."),
    "report": CommandSource(
        "report:report",
        "Write a self-contained HTML report: figures and tables, each with the SQL that produced it.",
    ),
    "figures": CommandSource(
        "report:figures", "Write figures for a publication, each with its SQL and its data as CSV."
    ),
    "tables": CommandSource(
        "tables:tables", "Write tables of methods and languages, with intervals in a second table."
    ),
    "results export": CommandSource(
        "share:export",
        "Write results in a format that others read; every number is the one in the catalog, bit by bit.",
    ),
    "results import": CommandSource(
        "share:import_", "Import results of lm-evaluation-harness that were computed elsewhere."
    ),
    "notebook": CommandSource(
        "notebook:notebook",
        "Write a notebook about a store and open it: choose model, task, languages and methods.",
    ),
    "rescore": CommandSource(
        "rescore:rescore",
        "Recompute stored evaluations with another scoring rule, other metrics or a subset of the examples.",
    ),
    "ranks": CommandSource(
        "rescore:ranks",
        "Rank variants over several data sets: average ranks, and Friedman's test in the form of Iman and Davenport.",
    ),
    "data check": CommandSource(
        "check_data:check",
        "Show which published layout a path has, with its languages, splits, examples, labels and problems.",
    ),
    "export": CommandSource(
        "export_variant:export",
        "Write a variant as a Hugging Face model folder: safetensors, tokenizer and model card.",
    ),
    "publish": CommandSource(
        "publish:publish",
        "Write variants as folders that can be shared: masks of one bit per weight, new values, hashes and metrics.",
    ),
    "apply": CommandSource("publish:apply", "Make the pruned model from its base model and a published variant."),
    "verify": CommandSource(
        "verify_variant:verify",
        "Rebuild a variant's masks from the stored statistics and compare their hash with the record.",
    ),
    "harness": CommandSource("harness:harness", "Run tasks of lm-evaluation-harness on variants."),
    "gc": CommandSource("store:gc", "List, or delete, files that no record references."),
    "catalog rebuild": CommandSource("catalog:rebuild", "Rebuild the catalog file from the records."),
    "catalog check": CommandSource("catalog:check", "Verify every record, artefact, key, view and value."),
    "catalog merge": CommandSource("catalog:merge", "Copy all records and artefacts of another store, verifying them."),
    "catalog export": CommandSource(
        "catalog:export", "Write the catalog's tables and views as files, with the id of their snapshot."
    ),
    "catalog mlflow": CommandSource(
        "catalog:mlflow", "Send each variant of the recipes to MLflow as a run with its settings and metrics."
    ),
    "store compact": CommandSource("store:compact", "Merge the record files of a store into a few segment files."),
}
"""Command as the user types it -> its source, in the order of `mlprune --help`."""
GROUPS: Mapping[str, str] = {
    "data": "Check data that a recipe reads.\n\nExample: mlprune data check flores200_dataset",
    "catalog": "Rebuild, check, merge or export the catalog of a store.\n\n"
    "Example: mlprune catalog check --store runs/",
    "results": "Write results in standard formats, or import results that were computed elsewhere.\n\n"
    "Example: mlprune results export --format every_eval_ever --to shared/ --store runs/",
    "store": "Maintain the files of a store.\n\nExample: mlprune store compact --store runs/",
}
"""Group of commands -> its help text."""


class Command(TyperCommand):
    """A command that takes an argument such as `-- a comment` for SQL, and not for an option."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the arguments; SQL that begins with a comment gets a line break before it."""
        return super().parse_args(ctx, [f"\n{arg}" if SQL_COMMENT.match(arg) else arg for arg in args])


def load_command(command: str) -> TyperCommand:
    """Import the module of a command, and build the command from the signature of its function."""
    module, _, function = COMMANDS[command].function.partition(":")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    name = command.rpartition(" ")[2]
    alone.command(name, cls=Command)(getattr(import_module(f"ray_jobs.cli.commands.{module}"), function))
    return cast("TyperCommand", typer.main.get_command(alone))


class CommandGroup(TyperGroup):
    """A group that lists its commands with their summaries, and loads a command when it is used."""

    def __init__(self, *, name: str, commands: Mapping[str, Any], **attributes: Any) -> None:
        self._prefix = "" if name == PROGRAM else f"{name} "
        group = self._prefix.rstrip()
        members = [command for command in COMMANDS if command.rpartition(" ")[0] == group]
        names = {command.removeprefix(self._prefix): COMMANDS[command].summary for command in members}
        listed = {member: TyperCommand(member, help=summary) for member, summary in names.items()}
        super().__init__(name=name, commands={**listed, **commands}, **attributes)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, Any, list[str]]:  # type: ignore[override]
        """Return the name, the loaded command and the other arguments."""
        name, command, others = super().resolve_command(ctx, args)
        loaded = load_command(f"{self._prefix}{name}") if f"{self._prefix}{name}" in COMMANDS else command
        return name, loaded, others


def build_application() -> typer.Typer:
    """Assemble the command line from `GROUPS`, whose groups take their commands from `COMMANDS`."""
    application = typer.Typer(
        name=PROGRAM,
        cls=CommandGroup,
        callback=global_options,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Prune multilingual language models with translation demonstrations, evaluate every variant in many "
        "languages, and query the results with SQL.\n\nTo see it work, run: mlprune demo",
    )
    for name, help_text in GROUPS.items():
        application.add_typer(typer.Typer(no_args_is_help=True, cls=CommandGroup, help=help_text), name=name)
    return application


def _print_version(*, requested: bool) -> None:
    if requested:
        echo(f"mlprune {__version__}")
        raise typer.Exit


def global_options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _print_version(requested=value),
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Handle the options of the program itself."""


app = build_application()


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments with bytes that are not UTF-8, which neither a store nor SQL can contain.

    Raises:
        BadInputError: an argument is not UTF-8.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as err:
            raise BadInputError("an argument is not UTF-8", got=visible(argument)) from err


def _check_hub_address(address: str) -> None:
    """Refuse an address that the hub's library cannot parse: the import of the library would fail.

    Raises:
        BadInputError: it cannot be parsed.
    """
    try:
        urlsplit(address)
    except ValueError as err:
        expected = "an address such as https://huggingface.co"
        raise BadInputError("HF_ENDPOINT is not the address of a hub", expected=expected, got=address) from err


class VisibleFormatter(logging.Formatter):
    """A formatter of log lines that escapes control characters in names."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a log record."""
        return visible(super().format(record))


class TerminalHandler(logging.Handler):
    """Writes log lines to stderr through rich, which is loaded when there is a line to write."""

    def __init__(self) -> None:
        super().__init__()
        self._handler: logging.Handler | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        if self._handler is None:
            from rich.logging import RichHandler  # noqa: PLC0415 - most commands log nothing

            handler = RichHandler(show_path=False, show_time=False, markup=False)
            handler.console.stderr = True
            handler.setFormatter(VisibleFormatter("%(message)s"))
            self._handler = handler
        self._handler.emit(record)


def show_usage_error(err: Any) -> None:
    """Write an error of the command line as one line that names the command's help; without arguments, write the help.

    Args:
        err: a `CommandLineError`.
    """
    if type(err).__name__ == "NoArgsIsHelpError":
        err.show()
        return
    context = getattr(err, "ctx", None)
    command = "mlprune" if context is None else context.command_path
    message = " ".join(err.format_message().split()).removesuffix(".")
    for phrase, words in PLAIN_WORDS.items():
        message = re.sub(phrase, words, message)
    sys.stderr.write(f"mlprune: {visible(message)}; see {command} --help\n")


def main() -> None:
    """Run the command line; bad input becomes one line and exit code 2."""
    logging.basicConfig(level=logging.WARNING, handlers=[TerminalHandler()])
    with GracefulShutdown() as shutdown:
        try:
            _check_arguments(sys.argv)
            _check_hub_address(os.environ.get("HF_ENDPOINT", ""))
            sys.exit(app(standalone_mode=False) or 0)
        except BaseException as err:
            code = exit_code_of(err, shutdown)
            if code is None:
                raise
            sys.exit(code)


def exit_code_of(err: BaseException, shutdown: GracefulShutdown) -> int | None:
    """Write what ended a command as one line, and return the exit code; None if the exception is unexpected.

    After a signal, every exception means that the command was stopped: native code may turn the KeyboardInterrupt that
    it gets into an error of its own.
    """
    # While Ray starts, its own handler is installed; it exits with the bare signal number.
    is_rays_exit = isinstance(err, SystemExit) and err.code == signal.SIGTERM
    if shutdown.number or isinstance(err, KeyboardInterrupt) or is_rays_exit:
        shutdown.number = shutdown.number or signal.SIGTERM
        sys.stderr.write("mlprune: stopped; run the same command again to resume\n")
        return shutdown.exit_code
    if isinstance(err, typer.Abort):
        return 1
    if isinstance(err, CommandLineError):
        show_usage_error(err)
        return BAD_INPUT
    if isinstance(err, BadInputError):
        sys.stderr.write(f"mlprune: {visible(str(err))}\n")
        return BAD_INPUT
    return None


if __name__ == "__main__":
    main()
