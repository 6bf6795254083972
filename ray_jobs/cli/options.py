"""Options that several commands share, and opening an existing store."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mlprune.errors import BadInputError, unknown
from mlprune.vocabulary import DtypeName
from ray_jobs.cli.completion import complete_store, complete_variant
from ray_jobs.cli.result_output import echo

if TYPE_CHECKING:
    from mlprune.store.store import Store

DTYPE_NAMES: tuple[DtypeName, ...] = get_args(DtypeName)
RecipeArgument = Annotated[Path, typer.Argument(help="Recipe file (YAML).")]
VariantArgument = Annotated[
    str,
    typer.Argument(
        help="Variant id, a name that a recipe gives it, or a unique beginning of one of these.",
        autocompletion=complete_variant,
    ),
]
VariantsArgument = Annotated[
    list[str],
    typer.Argument(
        help="Variant ids, names that a recipe gives them, or unique beginnings of these.",
        autocompletion=complete_variant,
    ),
]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        help="Store with records and artefacts: a folder or an object-store URI.",
        autocompletion=complete_store,
    ),
]
ModelOption = Annotated[Path | None, typer.Option("--model", help="Base model folder, if it has moved.")]
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
        "Ray."
    ),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format", help="Output format: table, json or csv. A table is for people; the others are complete and exact."
    ),
]
WideOption = Annotated[
    bool, typer.Option("--wide", help="In a table: one line per row, with all columns and whole ids.")
]
DigitsOption = Annotated[
    int | None,
    typer.Option(min=0, max=17, help="In a table: decimals of numbers, and significant digits of p-values; default 3."),
]


def show_start(text: str) -> None:
    """Show on a terminal that a command works, before it imports libraries for seconds."""
    if sys.stderr.isatty():
        echo(f"{text} ...", err=True)


def is_path(source: str) -> bool:
    """Whether the source of a model is a path, and not an id on the hub."""
    path = Path(source).expanduser()
    return os.path.lexists(path) or path.is_absolute() or source.startswith(".") or source.count("/") > 1


def parse_dtype(name: str) -> DtypeName:
    """Check the name of a dtype.

    Raises:
        BadInputError: the name is unknown.
    """
    for dtype in DTYPE_NAMES:
        if dtype == name:
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


def existing_store(uri: str, *, quarantine: bool = False) -> "Store":
    """Open a store that has records.

    Args:
        quarantine: whether damaged records are moved to quarantine; commands that only answer move nothing.

    Raises:
        StoreError: the store has no records.
    """
    from mlprune.store.store import Store  # noqa: PLC0415 - commands import lazily, so that --help is fast

    store = Store(uri, quarantine=quarantine)
    store.require_records()
    return store
