"""The tables of docs/real-study.md are those of the CSV files that its figures are drawn from."""

import csv
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "docs" / "real-study"
PAGE = FOLDER.with_suffix(".md")
CORPORA = {"CLDR": "subset", "FLORES": "flores"}


def page_rows(first_cell):
    """Cells of the page's table rows whose first cell is one of the given ones."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] in first_cell]


def read(name):
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_comparison_is_on_the_page_with_its_numbers():
    written = [
        (corpus, metric.split()[-1], opponent, role, mean, interval, below, p, holm)
        for corpus, metric, opponent, role, mean, interval, below, p, holm in page_rows(CORPORA)
    ]
    measured = [
        (
            *(corpus, row["metric"].split()[-1], row["opponent"], row["role"], f"{float(row['mean']):+.3f}"),
            f"{float(row['ci_low']):+.3f} to {float(row['ci_high']):+.3f}",
            f"{row['n_below']} of {row['n_cells']}",
            *(f"{float(row[name]):.3f}" for name in ("p_value", "p_holm")),
        )
        for corpus, name in CORPORA.items()
        for row in read(f"{name}-comparisons")
    ]
    assert written == measured


@pytest.mark.parametrize("task", ["perplexity", "facts"])
def test_every_value_of_the_built_in_corpus_is_on_the_page(task):
    rows = [row for row in read("subset-values") if row["task"] == task]
    languages = list(dict.fromkeys(row["language"] for row in rows))
    measured = {
        arm: [row["value"] for row in rows if row["arm"] == arm] for arm in dict.fromkeys(r["arm"] for r in rows)
    }
    header = re.search(rf"\| {task} \|(.*)\|", PAGE.read_text(encoding="utf-8"))
    assert header
    assert [cell.strip() for cell in header.group(1).split("|")] == languages
    shown = "{:.3g}" if task == "perplexity" else "{:.2f}"
    written = [row for row in page_rows(measured) if len(row) == len(languages) + 1]
    table = written[: len(measured)] if task == "perplexity" else written[len(measured) :]
    assert {row[0]: row[1:] for row in table} == {
        arm: [shown.format(float(value)) for value in values] for arm, values in measured.items()
    }
