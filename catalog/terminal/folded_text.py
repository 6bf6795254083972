"""Text folded to a number of terminal cells; a character of East Asian scripts has two cells."""

import re

from rich.cells import cell_len, chop_cells

_LABEL = re.compile(r" *(?:\w+: +)?")
_PIECE = re.compile(r"_*[^_ ]+[_ ]*|[_ ]+")


def width_of(text: str) -> int:
    """Return the cells of the longest line of a text."""
    return max(map(cell_len, text.split("\n")))


def folded(text: str, width: int) -> list[str]:
    """Break lines between words so that none is wider; a longer word is broken between characters."""
    if "\n" not in text and cell_len(text) <= width:
        return [text]
    lines = [line for paragraph in text.split("\n") for line in _filled(paragraph.split(" "), width, separator=" ")]
    return _chopped(lines, width)


def folded_name(name: str, width: int) -> list[str]:
    """Break the name of a column after underscores and spaces."""
    return _chopped([line.rstrip(" ") for line in _filled(_pieces(name), width, separator="")], width)


def folded_list(items: list[str], width: int) -> list[str]:
    """Join items with semicolons, and break lines between items if possible."""
    lines = _filled([*(f"{item};" for item in items[:-1]), *items[-1:]], width, separator=" ")
    return [part for line in lines for part in folded(line, width)]


def folded_line(line: str, width: int) -> list[str]:
    """Break a line of text; further lines are indented like the text after a label such as `memory: `, or by two."""
    label = _LABEL.match(line)
    start = label[0] if label else ""
    if cell_len(start) > width // 3:
        start = line[: len(line) - len(line.lstrip(" "))][: width // 3]
    indent = " " * max(cell_len(start), 2)
    if cell_len(line) <= width:
        return [line]
    first, *more = folded(line[len(start) :], width - len(indent))
    return [start + first, *(indent + text for text in more)]


def longest_piece(name: str) -> int:
    """Return the cells of the longest part of a name that is not broken."""
    return max(cell_len(piece.rstrip(" ")) for piece in _pieces(name))


def padded(text: str, width: int, *, is_right: bool) -> str:
    """Pad a text with blanks to a number of cells."""
    blanks = " " * (width - cell_len(text))
    return blanks + text if is_right else text + blanks


def _pieces(name: str) -> list[str]:
    return _PIECE.findall(name) or [name]


def _filled(pieces: list[str], width: int, *, separator: str) -> list[str]:
    """Join pieces to lines that are as long as possible; a line of one piece may be wider."""
    lines, line = [], pieces[0]
    for piece in pieces[1:]:
        longer = f"{line}{separator}{piece}"
        if cell_len(longer.rstrip(" ")) <= width:
            line = longer
        else:
            lines.append(line)
            line = piece
    return [*lines, line]


def _chopped(lines: list[str], width: int) -> list[str]:
    """Break the lines that are wider between characters."""
    return [part for line in lines for part in (chop_cells(line, width) if cell_len(line) > width else [line])]
