"""Tables in LaTeX, with the commands of the package booktabs."""

from collections.abc import Mapping

from catalog.tables.grid import MISSING, Grid, GridCell

_ESCAPED: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "%": r"\%",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "*": r"$^{*}$",
    "†": r"$^{\dagger}$",
    "–": "--",
    "−": "--",
}
"""Character -> text that prints it. The marks become superscripts."""


def to_latex(grid: Grid) -> str:
    """Format as a `table` environment, below a comment that names the package it needs."""
    columns = "l" * grid.n_labels + "r" * (len(grid.header) - grid.n_labels)
    blocks = ["\n".join(_line(row) for row in block) for block in grid.blocks]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs} in the preamble",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(grid.caption)}}}",
            rf"\label{{tab:{grid.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(escape(text) for text in grid.header) + r" \\",
            r"\midrule",
            "\n\\midrule\n".join(blocks),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def escape(text: str) -> str:
    """Return a text that LaTeX prints as it is, on one line."""
    return "".join(_ESCAPED.get(character, character) for character in " ".join(text.split()))


def _line(row: tuple[GridCell, ...]) -> str:
    return " & ".join(_cell(cell) for cell in row) + r" \\"


def _cell(cell: GridCell) -> str:
    text = escape(cell.text)
    is_bold = cell.is_bold and cell.text != MISSING
    return (rf"\textbf{{{text}}}" if is_bold else text) + escape(cell.mark)
