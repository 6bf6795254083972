"""Quotes of tables: characters of the text, or around values as a writer of CSV leaves them."""

import csv
import io
from pathlib import Path

import pytest

from mlprune.evaluation.tasks.layouts.tab_separated import first_cells, first_object, tab_separated

ROWS = [["id", "text"], ["1", 'he said "no"'], ["2", "plain"], ["3", '"']]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_quotes_of_a_csv_writer_enclose_values(tmp_path: Path, quoting: int) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", quoting=quoting).writerows(ROWS)
    (tmp_path / "a.tsv").write_bytes(text.getvalue().encode())
    assert tab_separated(tmp_path / "a.tsv") == ROWS


@pytest.mark.parametrize("cell", ['"no"', '"no" and "yes"', 'a "no', '"', '""', 'a ""no"" b'])
def test_other_quotes_are_characters(tmp_path: Path, cell: str) -> None:
    for others in ([], ["4\t" + '"a ""b"" c"']):
        lines = ["id\ttext", f"1\t{cell}", *others]
        (tmp_path / "a.tsv").write_text("\n".join(lines))
        assert tab_separated(tmp_path / "a.tsv")[1] == ["1", cell]


def test_the_first_line_of_a_file_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9\n[1]\n")
    assert first_cells(tmp_path / "a") == []
    assert first_object(tmp_path / "a") == first_object(tmp_path / "none") == {}
    (tmp_path / "a").write_text("a\tb\nc\n")
    assert first_cells(tmp_path / "a", 2) == [["a", "b"], ["c"]]
