"""Tables in Markdown, with aligned columns."""

import unicodedata

from catalog.tables.grid import MISSING, Grid, GridCell


def to_markdown(grid: Grid) -> str:
    """Format as a pipe table, with the caption above it."""
    rows = [[_escape(text) for text in grid.header]]
    rows += [[_cell(cell) for cell in row] for block in grid.blocks for row in block]
    widths = [max(3, *(_width(row[i]) for row in rows)) for i in range(len(grid.header))]
    is_number = [i >= grid.n_labels for i in range(len(grid.header))]
    rule = [("-" * (width - 1) + ":") if right else "-" * width for width, right in zip(widths, is_number, strict=True)]
    lines = [_line(row, widths, is_number) for row in (rows[0], rule, *rows[1:])]
    return "\n".join([_escape(grid.caption), "", *lines])


def _line(row: list[str], widths: list[int], is_number: list[bool]) -> str:
    padded = [
        " " * (width - _width(text)) + text if right else text + " " * (width - _width(text))
        for text, width, right in zip(row, widths, is_number, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _cell(cell: GridCell) -> str:
    text = _escape(cell.text)
    is_bold = cell.is_bold and cell.text != MISSING
    return (f"**{text}**" if is_bold else text) + _escape(cell.mark)


def _escape(text: str) -> str:
    escaped = "".join(f"\\{character}" if character in "\\|*_`<" else character for character in text)
    return " ".join(escaped.split())


def _width(text: str) -> int:
    """Number of columns of a terminal that a text takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
