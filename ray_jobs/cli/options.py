"""Options that several commands share, and the width of the output."""

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from catalog.results import QueryResult, visible
from mlprune.errors import BadInputError, unknown
from mlprune.store.store import Store
from mlprune.vocabulary import DtypeName, full_dtype
from ray_jobs.cli.known_words import complete_one_of, complete_store, complete_variant
from ray_jobs.process.verbosity import is_quiet

if TYPE_CHECKING:
    from catalog.queries import Answer
    from catalog.store import Catalog
    from catalog.terminal.result_table import Layout

PROGRAM = "mlprune"
"""Name of the program on the command line."""
DTYPE_NAMES: tuple[DtypeName, ...] = get_args(DtypeName)
RecipeArgument = Annotated[Path, typer.Argument(help="Recipe file (YAML).")]
VariantArgument = Annotated[
    str,
    typer.Argument(
        help="Label of a variant, a name that a recipe gives it, its id, or a unique beginning of one of these.",
        autocompletion=complete_variant,
    ),
]
VariantsArgument = Annotated[
    list[str],
    typer.Argument(
        help="Labels of variants, names that a recipe gives them, ids, or unique beginnings of these.",
        autocompletion=complete_variant,
    ),
]
STORE_VARIABLE = "MLPRUNE_STORE"
"""Variable of the environment with the default of --store."""
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar=STORE_VARIABLE,
        help="Store with records and artefacts: a folder or an object-store URI.",
        autocompletion=complete_store,
    ),
]
ModelOption = Annotated[Path | None, typer.Option("--base-model", help="Base model folder, if it has moved.")]
ShrinkOption = Annotated[
    int | None,
    typer.Option(
        "--shrink",
        metavar="N",
        min=1,
        help="Try a recipe: at most N demonstrations per set, N shots per text, N items per evaluation and N "
        "variants per search. The results have ids of their own.",
    ),
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another value of the recipe, such as evaluations.0.limit=50 (in YAML); repeatable. The results have ids "
        "of their own.",
    ),
]
OtherModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="PATH",
        help="Base model instead of the recipe's: a folder, a hub id, or demo for the embedded model.",
    ),
]
AllowImportOption = Annotated[
    bool,
    typer.Option(
        "--allow-import",
        help="Import the models that the recipe marks with import: true, unless they are imported already.",
    ),
]
AllowPluginsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-plugins",
        metavar="FILE",
        help="Run the code of a plug-in file that the recipe names under plugins, or that a variant was made with; "
        "repeatable.",
    ),
]
AllowManyOption = Annotated[
    bool,
    typer.Option(
        "--yes",
        help="Accept a recipe whose lists multiply out to more than 20,000 variants, sets or evaluations.",
    ),
]
AddressOption = Annotated[
    str,
    typer.Option(
        help="local starts Ray on this machine; auto or ray://... joins a cluster; none runs in this process without "
        "Ray.",
        autocompletion=complete_one_of("local", "auto", "none"),
    ),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        help="Output format: table, json or csv. A table is for people; the others are complete and exact.",
        autocompletion=complete_one_of("table", "json", "csv"),
    ),
]
RowsOption = Annotated[
    str, typer.Option("--rows", metavar="N", help="In a table: most rows that are shown, a number or all.")
]
MOST_ROWS = "20"
"""Default of `RowsOption`."""
WideOption = Annotated[
    bool, typer.Option("--wide", help="In a table: all columns on lines of any length, and whole ids.")
]
VerticalOption = Annotated[
    bool, typer.Option("--vertical", help="In a table: one line per value, with all columns and whole ids.")
]
DigitsOption = Annotated[
    int | None,
    typer.Option(min=0, max=17, help="In a table: decimals of numbers, and significant digits of p-values; default 3."),
]
WIDTH = 80
"""Cells of a line if the output does not go to a terminal and COLUMNS is not set."""


@dataclass(frozen=True)
class ResultFormat:
    """How a result is written, from the options of a command."""

    name: str
    """`table`, `json` or `csv`."""
    layout: "Layout" = "fitting"
    """Of a table, which fits the terminal unless it is wide."""
    rows: str = "all"
    """Most rows of a table: a number, or `all`."""
    digits: int | None = None
    """Of the numbers of a table; see `TableOptions`."""


def show_start(text: str) -> None:
    """Show on a terminal that a command works, before it imports libraries for seconds."""
    if sys.stderr.isatty():
        echo(f"{text} ...", err=True)


def called_program() -> str:
    """Return how the user can call this program: its name if the search path finds it, else the path that was used."""
    called, found = Path(sys.argv[0]), shutil.which(PROGRAM)
    if called.name != PROGRAM or (found is not None and Path(found).resolve() == called.resolve()):
        return PROGRAM
    return shlex.quote(str(called))


def is_path(source: str) -> bool:
    """Whether the source of a model is a path, and not an id on the hub."""
    path = Path(source).expanduser()
    return os.path.lexists(path) or path.is_absolute() or source.startswith(".") or source.count("/") > 1


def parse_dtype(name: str) -> DtypeName:
    """Return the dtype of a name, which may be a short one such as `bf16`.

    Raises:
        BadInputError: the name is unknown.
    """
    for dtype in DTYPE_NAMES:
        if dtype == full_dtype(name):
            return dtype
    raise unknown("dtype", name, DTYPE_NAMES, error=BadInputError, option="--dtype")


def require_output(path: Path, *, is_folder: bool) -> None:
    """Check that a file or folder can be written, before a command works for it.

    Args:
        is_folder: whether the command writes a folder, which may exist.
    Raises:
        BadInputError: its parent folder is missing or read-only, or another kind of thing is in its place.
    """
    parent = path.absolute().parent
    message, expected = "the output cannot be written", "a folder" if is_folder else "a file"
    try:
        if not parent.is_dir():
            raise BadInputError(message, path=str(path), expected=f"a folder {parent}", next="create it, or fix --out")
        is_there, is_other = path.exists(), path.is_dir() != is_folder
    except OSError as err:
        raise BadInputError(message, path=str(path), reason=err.strerror or str(err)) from err
    if is_there and is_other:
        raise BadInputError(message, path=str(path), expected=expected, got="a file" if is_folder else "a folder")
    if not os.access(path if is_there and is_folder else parent, os.W_OK | os.X_OK):
        raise BadInputError(message, path=str(path), expected="a folder that can be written to", got="a read-only one")


def existing_store(uri: str, *, quarantine: bool = False) -> Store:
    """Open a store that has records.

    Args:
        quarantine: whether damaged records are moved to quarantine; commands that only answer move nothing.

    Raises:
        StoreError: the store has no records.
    """
    store = Store(uri, quarantine=quarantine)
    store.require_records()
    return store


def screen_width() -> int:
    """Return the cells of a line: those of COLUMNS, else those of the terminal, else 80."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size((WIDTH, 24)).columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) > 0 else WIDTH


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write text for people or programs, with characters escaped that a terminal would interpret.

    Everything that a command writes goes through this function: names come from recipes, paths and records of others.
    """
    if not (err and is_quiet()):
        typer.echo(visible(text), err=err, nl=nl)


def format_result(
    catalog: "Catalog", result: QueryResult, wanted: ResultFormat, *, answer: "Answer | None" = None
) -> str:
    """Format a result.

    Args:
        answer: whose result it is, if it is that of a user's query.
    Raises:
        QueryError: there is no such format.
        BadInputError: the number of rows is neither a number nor `all`.
    """
    from catalog.queries import short_id_length  # noqa: PLC0415 - loads DuckDB
    from catalog.terminal import SHORT_ID, TableOptions  # noqa: PLC0415
    from catalog.terminal.result_table import render  # noqa: PLC0415

    rows, layout = wanted.rows, wanted.layout
    if rows != "all" and not (rows.isdecimal() and int(rows) > 0):
        raise BadInputError("a wrong number of rows", option="--rows", expected="a number from 1, or all", got=rows)
    n_rows = None if rows == "all" else int(rows)
    shows_short_ids = wanted.name == "table" and layout == "fitting"
    first_rows = QueryResult(result.columns, result.rows[:n_rows])
    options = TableOptions(
        screen_width(),
        layout=layout,
        first=() if answer is None else answer.first,
        folded=() if answer is None else answer.folded,
        n_rows=n_rows,
        digits=wanted.digits,
        id_length=short_id_length(catalog, first_rows) if shows_short_ids else SHORT_ID,
        is_user_sql=answer is not None and answer.is_user_sql,
        interval_owners=None if answer is None else answer.interval_owners,
    )
    return render(result, wanted.name, options=options)


def layout_of(*, wide: bool, vertical: bool = False) -> "Layout":
    """Return the layout of a table that two options choose; `--vertical` wins."""
    return "vertical" if vertical else "wide" if wide else "fitting"


def format_text(text: str) -> str:
    """Fold lines to the width of the output, and escape characters that a terminal would interpret."""
    from catalog.terminal import format_text as folded_text  # noqa: PLC0415 - loads rich

    return folded_text(text, width=screen_width())


def format_report(text: str) -> str:
    """Fold the lines of a report if they go to a terminal; programs get one line per fact, of any length."""
    return format_text(text) if sys.stdout.isatty() else visible(text)


def cut_line(line: str) -> str:
    """Cut a line that is wider than the terminal; programs get whole lines."""
    width = screen_width()
    return f"{line[: width - 1]}…" if sys.stdout.isatty() and len(line) > width else line
