"""Tables in LaTeX: balanced, escaped, and as many cells as columns."""

import re

import pytest

from catalog.tables.grid import Grid, GridCell, value_grid
from catalog.tables.latex import escape, to_latex
from catalog.tables.table import Table

NASTY = Grid(
    "t",
    "50 % of {a}_b & c\\d",
    1,
    ("method", "en"),
    (
        (
            (GridCell("a_b & 50 %"), GridCell("1.0", is_bold=True, mark="*")),
            (GridCell("#~^$"), GridCell("–", is_bold=True)),
        ),
    ),
)


def unescaped(text: str, character: str) -> int:
    return len(re.findall(rf"(?<!\\){re.escape(character)}", text))


def check_structure(text: str) -> list[list[str]]:
    """Check that a table is balanced, and return its rows of cells."""
    environments = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    assert environments == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]
    comment, _, text = text.partition("\n")
    assert re.fullmatch(r"% .*\\usepackage\{booktabs\}.*", comment)
    assert unescaped(text, "{") == unescaped(text, "}")
    assert unescaped(text, "$") % 2 == 0
    assert not re.search(r"(?<!\\)[%#~]", text)
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert columns is not None
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    rows = [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in lines]
    assert {len(row) for row in rows} == {len(columns[1])}
    assert all("_" not in re.sub(r"\\_", "", line) for line in lines)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text.splitlines()
    return [[cell.strip() for cell in row] for row in rows]


def test_a_table_is_balanced_and_has_every_cell(facts: Table) -> None:
    rows = check_structure(to_latex(value_grid(facts)))
    assert rows[0] == ["model", "method", "sparsity", "en", "es", "fr", "sw", "macro"]
    assert len(rows) == 1 + len(facts.rows)
    assert [row[1] for row in rows[1:]] == [row.label for row in facts.rows]
    for row, cells in zip(facts.rows, rows[1:], strict=True):
        shown = [re.sub(r"\\textbf\{|\}|\$.*", "", cell) for cell in cells[3:]]
        assert shown == [f"{100 * (row.value(column) or 0):.1f}" for column in facts.value_columns]


def test_characters_with_a_meaning_are_escaped() -> None:
    rows = check_structure(to_latex(NASTY))
    assert rows[1] == [r"a\_b \& 50 \%", r"\textbf{1.0}$^{*}$"]
    assert rows[2] == [r"\#\textasciitilde{}\textasciicircum{}\$", "--"]


@pytest.mark.parametrize(
    ("text", "expected"), [("a\nb", "a b"), ("<x>", r"\textless{}x\textgreater{}"), ("中文", "中文")]
)
def test_other_characters_print_as_they_are(text: str, expected: str) -> None:
    assert escape(text) == expected
