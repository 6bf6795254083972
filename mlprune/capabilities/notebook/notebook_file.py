"""Write a notebook about a store: a marimo program, or a Jupyter document.

The cells of both are in `cells.txt`. A cell is shared, or only for one of the two: marimo has controls, and Jupyter has
variables to edit. The code of helpers is hidden; marimo, which runs cells in any order, has it at the end. The cells
use the public interface alone.
"""

import html
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from mlprune.atomic import write_atomically
from mlprune.errors import BadInputError

NotebookKind: TypeAlias = Literal["marimo", "jupyter"]
CELLS = Path(__file__).parent / "cells.txt"
FILE_NAMES: Mapping[NotebookKind, str] = {"marimo": "mlprune-notebook.py", "jupyter": "mlprune-notebook.ipynb"}
"""Kind -> name of the file by default."""
_CELL = re.compile(r"^# %%(?: \[(?P<kind>\w+)\])?\n", re.MULTILINE)
"""First line of a cell: nothing, `markdown` or `helpers` for both notebooks, or the only notebook that has the cell."""
_STORE, _STORE_TEXT = "{store}", "{store_text}"
"""Places for the store in the cells: as a literal of Python, and as Markdown."""


@dataclass(frozen=True)
class Cell:
    """One cell of a notebook."""

    text: str
    is_text: bool
    """Whether it is Markdown, and not Python."""
    is_helper: bool
    """Whether it is code that a reader does not need to see."""


def write_notebook(store: str, path: Path, kind: NotebookKind) -> None:
    """Write a notebook that opens a store.

    Args:
        path: the file, which must not exist: a notebook may contain changes of its user.
    Raises:
        BadInputError: the file exists or cannot be written.
    """
    if path.exists():
        next_step = f"open it with {kind}, or write another one with --out"
        raise BadInputError("the notebook exists", path=str(path), next=next_step)
    try:
        write_atomically(path, WRITERS[kind](store).encode())
    except OSError as err:
        raise BadInputError("the notebook cannot be written", path=str(path), reason=err.strerror or str(err)) from err


def marimo_text(store: str) -> str:
    """Return the notebook as a marimo program; marimo itself finds out which cells use which."""
    cells = "\n\n".join(map(_marimo_cell, sorted(_cells(store, "marimo"), key=lambda cell: cell.is_helper)))
    return (
        f'import marimo\n\napp = marimo.App(width="medium")\n\n\n{cells}\n\nif __name__ == "__main__":\n    app.run()\n'
    )


def jupyter_text(store: str) -> str:
    """Return the notebook as a Jupyter document, format 4.5."""
    cells: list[dict[str, object]] = [
        {
            "cell_type": "markdown" if cell.is_text else "code",
            "id": f"cell-{number}",
            "metadata": {"jupyter": {"source_hidden": True}} if cell.is_helper else {},
            "source": cell.text.splitlines(keepends=True),
            **({} if cell.is_text else {"execution_count": None, "outputs": []}),
        }
        for number, cell in enumerate(_cells(store, "jupyter"))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


WRITERS: Mapping[NotebookKind, Callable[[str], str]] = {"marimo": marimo_text, "jupyter": jupyter_text}
"""Kind -> function from a store to the text of the file."""


def _cells(store: str, kind: NotebookKind) -> Iterator[Cell]:
    """Yield the cells of one kind of notebook, in order."""
    text = CELLS.read_text("utf-8")
    starts = list(_CELL.finditer(text))
    ends = [*(match.start() for match in starts[1:]), len(text)]
    for match, end in zip(starts, ends, strict=True):
        if match["kind"] in (None, "markdown", "helpers", kind):
            is_text = match["kind"] == "markdown"
            place, value = (_STORE_TEXT, _as_markdown(store)) if is_text else (_STORE, repr(store))
            code = text[match.end() : end].strip("\n").replace(place, value)
            yield Cell(code, is_text=is_text, is_helper=match["kind"] == "helpers")


def _as_markdown(store: str) -> str:
    return html.escape(re.sub(r"([\\`*_\[\]#~])", r"\\\1", store))


def _marimo_cell(cell: Cell) -> str:
    code = f'mo.md(r"""\n{cell.text}\n""")' if cell.is_text else cell.text
    options = "(hide_code=True)" if cell.is_text or cell.is_helper else ""
    return f"@app.cell{options}\ndef _():\n{textwrap.indent(code, '    ')}\n    return\n"
