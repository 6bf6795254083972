"""The command line. stdout carries results, stderr progress and logs.

Exit codes: 0 done, 1 unexpected error or failed check, 2 bad input (one line), 3 some jobs failed, 130 and 143 stopped
by SIGINT and SIGTERM.

To add a command, write a module in `commands`, or in `ray_jobs.capabilities` if it belongs to a capability, and list
its function in `command_table`. A module of a command is imported when the command is called or completed, or its help
is shown. It may import the catalog, but not torch, Ray or transformers: functions import these, after what can be
checked without them.
"""

import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]  # typer has no public name

from catalog.results import visible
from mlprune import __version__
from mlprune.deprecation import DeprecatedNameWarning
from mlprune.errors import BadInputError
from mlprune.version import is_reader
from ray_jobs.cli.command_line import CommandGroup
from ray_jobs.cli.command_table import GROUPS
from ray_jobs.cli.options import PROGRAM, echo
from ray_jobs.process.signals import GracefulShutdown

BAD_INPUT = 2
SHOW_OTHER_WARNING = warnings.showwarning
CommandLineError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""Root of the errors of the library below typer, which is click or typer's copy of it."""
PLAIN_WORDS: Mapping[str, str] = {
    r"Input should be greater than or equal to ": "expected at least ",
    r"Input should be less than or equal to ": "expected at most ",
    r"Input should be a valid (\w+).*": r"expected a value of type \1",
    r"Input should be ": "expected ",
}
"""Pattern of a phrase in an error of the library below typer -> what the user reads."""


def build_application() -> typer.Typer:
    """Assemble the command line from `GROUPS`, whose groups take their commands from `COMMANDS`."""
    completion_init()
    application = typer.Typer(
        name=PROGRAM,
        cls=CommandGroup,
        callback=global_options,
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
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
    """Writes log lines to stderr through rich, which is loaded when there is a line to write.

    A warning is written once, although many jobs of a run may have the same reason for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._handler: logging.Handler | None = None
        self._warnings: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless it is a warning that was written before."""
        if record.levelno == logging.WARNING:
            if (message := record.getMessage()) in self._warnings:
                return
            self._warnings.add(message)
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


def show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Write the warning of a deprecated name as one line; others as Python writes them."""
    if issubclass(category, DeprecatedNameWarning):
        sys.stderr.write(f"mlprune: {visible(str(message))}\n")
    else:
        SHOW_OTHER_WARNING(message, category, *place, **more)


def main() -> None:
    """Run the command line; bad input becomes one line and exit code 2."""
    warnings.showwarning = show_warning
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
    if isinstance(err, ModuleNotFoundError) and is_reader():
        err = BadInputError(
            "mlprune-reader cannot run this command; run pip uninstall mlprune-reader, then pip install mlprune",
            needs=err.name,
        )
    if isinstance(err, BadInputError):
        sys.stderr.write(f"mlprune: {visible(str(err))}\n")
        return BAD_INPUT
    return None


if __name__ == "__main__":
    main()
