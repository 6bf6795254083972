"""Tables as CSV: parsed back, they equal the catalog."""

import csv
import io
from typing import Any

from catalog.tables.csv_text import intervals_to_csv, values_to_csv
from catalog.tables.table import Table

Rows = dict[str, list[dict[str, Any]]]


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_values_and_intervals_equal_the_records(facts: Table, rows: Rows) -> None:
    metrics = {
        (row["variant_id"], row["language"]): row
        for row in rows["metrics"]
        if (row["task"], row["split"], row["metric"]) == ("facts", "test", "accuracy")
    }
    values, intervals = parsed(values_to_csv(facts)), parsed(intervals_to_csv(facts))
    assert len(values) == len(intervals) == len(facts.rows)
    for value_row, interval_row in zip(values, intervals, strict=True):
        for column in facts.columns:
            row = metrics[value_row["variant_id"], column]
            assert float(value_row[column]) == row["value"]
            assert float(interval_row[f"{column}_low"]) == row["ci_low"]
            assert float(interval_row[f"{column}_high"]) == row["ci_high"]
            assert int(interval_row[f"{column}_n"]) == row["n"]
    assert values[0]["sparsity"] == "0.0"
    assert [row["method"] for row in values] == [row.label for row in facts.rows]


def test_a_value_that_is_missing_is_an_empty_cell(facts: Table) -> None:
    row = facts.rows[0]
    incomplete = type(row)(row.label, type(row.variant)(row.variant.row, {}), 1, None)
    block = type(facts.blocks[0])("tiny", (incomplete,))
    table = type(facts)(facts.spec, facts.columns, facts.macro_columns, (block,))
    assert parsed(values_to_csv(table))[0]["en"] == parsed(values_to_csv(table))[0]["macro"] == ""
    assert parsed(intervals_to_csv(table))[0]["en_low"] == ""
