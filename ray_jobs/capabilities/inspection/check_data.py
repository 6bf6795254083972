"""`mlprune check data`: show the layouts recognised at a path, a line for the recipe, problems and notes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer
from rich.cells import cell_len, set_cell_size

from mlprune.capabilities.inspection.data_report import DataReport, DataRow, text_report
from mlprune.capabilities.inspection.drafts.task_draft import draft_task
from mlprune.capabilities.inspection.task_reports import task_reports
from mlprune.corpus.layouts.parallel_text import PAGE, TEXT_LAYOUTS
from mlprune.corpus.text_files import listed_names, nearest_layout
from mlprune.errors import CorpusError, UnrecognisedDataError, unknown
from mlprune.evaluation.tasks.layouts.layout import file_tree, is_archive
from mlprune.evaluation.tasks.layouts.task_layouts import TASK_LAYOUTS
from mlprune.vocabulary import TASK_TRAITS
from ray_jobs.cli.options import echo, screen_width

MOST_CELLS, LEAST_CELLS_OF_TEXT, GAP = 24, 20, 2
"""Widest column of names, narrowest column of texts, and the space between columns."""
MOST_LISTED, MOST_CHARACTERS = 5, 40
"""Most names of files that an error lists, and the longest name that it shows in full."""
DESCRIBE_A_TASK = "tables in any other layout: describe a custom task in the recipe, docs/data.md#own-files"


def check(
    path: Annotated[str, typer.Argument(help="File or folder, as it was published.")],
    *,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            help="Task that will read the data; repeatable.",
            autocompletion=lambda incomplete: [name for name in TASK_TRAITS if name.startswith(incomplete)],
        ),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="The only split to read.")] = None,
) -> None:
    """Show the layout, languages and problems of published data.

    It also shows splits, examples and labels. Nothing is written. Exit code 1 means that a recipe would be refused. For
    tables in no known layout (exit code 2) it drafts a task for the recipe.

    Example: mlprune check data flores200_dataset
    """
    try:
        text, n_problems = describe_data(Path(path), tasks=task or (), split=split)
    except UnrecognisedDataError:
        if not task:
            echo(draft_task(Path(path)))
        raise
    echo(text)
    if n_problems:
        raise typer.Exit(1)


def describe_data(path: Path, *, tasks: Sequence[str] = (), split: str | None = None) -> tuple[str, int]:
    """Describe the data at a path; also return the number of problems.

    Args:
        tasks: tasks that will read the data; if empty, all that can.
    Raises:
        UnrecognisedDataError: nothing is recognised, for one of the tasks or at all.
        CorpusError: the path does not exist or is a device, or a task is unknown.
        TaskFileError: an archive is damaged.
    """
    for task in tasks:
        if task not in TASK_TRAITS:
            raise unknown("task", task, TASK_TRAITS, error=CorpusError)
    reports: list[DataReport] = []
    for asked in tasks or (None,):
        reports += (report for report in _reports(path, task=asked, split=split) if report not in reports)
    return "\n\n".join(map(_format_report, reports)), sum(len(report.problems) for report in reports)


def _reports(path: Path, *, task: str | None, split: str | None) -> list[DataReport]:
    reports: list[DataReport] = []
    if task is None or TASK_TRAITS[task].reads_parallel_text:
        reports += filter(None, [_text_report(path, split=split)])
    if task is None or not TASK_TRAITS[task].reads_parallel_text:
        reports += task_reports(path, task=task, split=split)
    if not reports:
        texts = {name: layout.example for name, layout in TEXT_LAYOUTS.items()}
        of_tasks = {name: layout.summary for name, layout in TASK_LAYOUTS.items() if task in (None, *layout.tasks)}
        context: dict[str, object] = {"path": str(path), **({} if task is None else {"task": task})}
        if not path.is_dir() and not path.is_file():
            message = "the path is neither a file nor a folder" if path.exists() else "the path does not exist"
            raise CorpusError(message, context, expected="a file or a folder", got=listed_names(path), page=PAGE)
        context |= {"expected": "a published layout", **nearest_layout(path, texts | of_tasks)}
        context |= {"got": _few_names(path), "page": PAGE} | ({"next": DESCRIBE_A_TASK} if task is None else {})
        raise UnrecognisedDataError("no layout is recognised", context)
    return reports


def _few_names(path: Path) -> list[str] | str:
    """Return the first names in a folder, cut off, and how many more there are."""
    if path.is_file():
        return listed_names(path)
    names = sorted(child.name for child in path.iterdir())
    few = [name if len(name) <= MOST_CHARACTERS else f"{name[:MOST_CHARACTERS]}…" for name in names[:MOST_LISTED]]
    return [*few, f"and {len(names) - MOST_LISTED:,} more"] if names[MOST_LISTED:] else few or "an empty folder"


def _text_report(path: Path, *, split: str | None) -> DataReport | None:
    """The report on parallel text; None for data of tasks in an archive, which only tasks read."""
    try:
        return text_report(path, split=split)
    except CorpusError as err:
        if any(layout.recognises(path) for layout in TASK_LAYOUTS.values()):
            return None
        if is_archive(path):
            names = file_tree(path).names
            got = [*names[:MOST_LISTED], *([f"and {len(names) - MOST_LISTED} more"] if names[MOST_LISTED:] else [])]
            message = "no layout of a task is recognised in the archive"
            next_step = f"if it has parallel text: {err.context.get('expected')}"
            raise UnrecognisedDataError(
                message, path=str(path), expected="a published layout", got=got, page=PAGE, next=next_step
            ) from err
        raise


def _format_report(report: DataReport) -> str:
    width = screen_width()
    sentences = [
        *_answers(report.rows),
        *(f"problem: {problem}" for problem in report.problems),
        *(f"note: {note}" for note in report.notes),
    ]
    first = _wrapped([f"{report.layout}: {report.example}"], width=width)
    lines = [*first, *_table(report.rows, width=width), *_wrapped(sentences, width=width)]
    return "\n".join([*lines, *([f"recipe: {report.recipe}"] if report.recipe else [])])


def _wrapped(sentences: Sequence[str], *, width: int) -> list[str]:
    return [
        line
        for sentence in sentences
        for line in wrap(sentence, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    ]


def _table(rows: Sequence[DataRow], *, width: int) -> list[str]:
    """One line per language and split, under a header; columns without values are left out."""
    columns = {
        "language": [row.language for row in rows],
        "code": [row.code if row.code != row.language else "" for row in rows],
        "split": [row.split for row in rows],
        "n": [f"{row.n:,}" for row in rows],
    }
    columns = {name: values for name, values in columns.items() if name in ("language", "n") or any(values)}
    widths = {name: min(MOST_CELLS, max(map(cell_len, (name, *values)))) for name, values in columns.items()}
    left = max(LEAST_CELLS_OF_TEXT, width - sum(widths.values()) - GAP * len(widths))
    lines = [
        (" " * GAP).join(_cell(value, widths[name], is_number=name == "n") for name, value in line.items())
        for line in ({name: values[row] for name, values in columns.items()} for row in range(len(rows)))
    ]
    header = (" " * GAP).join(_cell(name, widths[name], is_number=name == "n") for name in columns)
    texts = ["first", *(row.first for row in rows)]
    return [
        f"{line}{' ' * GAP}{_cell(text, left)}".rstrip() for line, text in zip([header, *lines], texts, strict=True)
    ]


def _cell(text: str, width: int, *, is_number: bool = False) -> str:
    """A text in a number of terminal cells, cut off with an ellipsis."""
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return text.rjust(width) if is_number else set_cell_size(text, width)


def _answers(rows: Sequence[DataRow]) -> list[str]:
    """One line per different count of right answers and chance level, with the languages and splits that have it."""
    counts = {_place(row): ", ".join(f"{label} {n:,}" for label, n in row.labels.items()) for row in rows}
    chances = {_place(row): f"{row.chance:.3f}" for row in rows if row.chance is not None}
    return [*_by_value("right answers", counts), *_by_value("chance level", chances)]


def _place(row: DataRow) -> str:
    return f"{row.language} {row.split}"


def _by_value(what: str, values: Mapping[str, str]) -> list[str]:
    """One line per different value, with the places that have it."""
    places: dict[str, list[str]] = {}
    for place, value in values.items():
        if value:
            places.setdefault(value, []).append(place)
    if len(places) == 1:
        return [f"{what}: {next(iter(places))} in every file"]
    return [f"{what}: {value} in {', '.join(names)}" for value, names in places.items()]
