"""The command line. stdout carries results, stderr progress and logs.

Exit codes: 0 done, 1 unexpected error or failed check, 2 bad input (one line), 3 some jobs failed, 130 and 143 stopped
by SIGINT and SIGTERM.

To add a command, write a module in `commands` and list its function in `COMMANDS`.
"""

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand

from catalog.visible_text import visible
from mlprune import __version__
from mlprune.errors import BadInputError
from ray_jobs.cli.commands import check_data
from ray_jobs.cli.commands.results import methods, notebook, query, report, rescore, share, tables
from ray_jobs.cli.commands.runs import demo, doctor, import_model, plan, run, serve, status
from ray_jobs.cli.commands.stores import catalog, store
from ray_jobs.cli.commands.variants import export_variant, harness, publish, verify_variant
from ray_jobs.cli.options import echo
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

COMMANDS: Mapping[str, Callable[..., None]] = {
    "demo": demo.demo,
    "import": import_model.import_,
    "plan": plan.plan,
    "run": run.run,
    "status": status.status,
    "serve": serve.serve,
    "doctor": doctor.doctor,
    "methods": methods.methods,
    "query": query.query,
    "report": report.report,
    "figures": report.figures,
    "tables": tables.tables,
    "results export": share.export,
    "results import": share.import_,
    "notebook": notebook.notebook,
    "rescore": rescore.rescore,
    "ranks": rescore.ranks,
    "data check": check_data.check,
    "export": export_variant.export,
    "publish": publish.publish,
    "apply": publish.apply,
    "verify": verify_variant.verify,
    "harness": harness.harness,
    "gc": store.gc,
    "catalog rebuild": catalog.rebuild,
    "catalog check": catalog.check,
    "catalog merge": catalog.merge,
    "catalog export": catalog.export,
    "catalog mlflow": catalog.mlflow,
    "store compact": store.compact,
}
"""Command as the user types it -> its function, in the order of `mlprune --help`."""
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


def build_application() -> typer.Typer:
    """Assemble the command line from `COMMANDS`."""
    application = typer.Typer(
        name="mlprune",
        callback=global_options,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Prune multilingual language models with translation demonstrations, evaluate every variant in many "
        "languages, and query the results with SQL.\n\nTo see it work, run: mlprune demo",
    )
    groups = {"": application}
    for name, help_text in GROUPS.items():
        groups[name] = typer.Typer(no_args_is_help=True, help=help_text)
        application.add_typer(groups[name], name=name)
    for command, function in COMMANDS.items():
        group, _, name = command.rpartition(" ")
        groups[group].command(name, cls=Command)(function)
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
