"""The variants that are best on dev so far, as tables of the live page."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import grouped
from catalog.report.labels import METRIC_LABELS, number
from catalog.results import Row
from catalog.visible_text import visible
from mlprune.counted import counted
from mlprune.json_values import JsonValue


def best_tables(rows: Sequence[Row]) -> list[JsonValue]:
    """Return a table for each base model, task, metric and way of evaluating.

    Args:
        rows: result of `best_on_dev.sql`.
    """
    return [
        _table(members)
        for _, members in grouped(rows, "base_model_id", "task", "metric", "scoring_rule", "example_limit")
    ]


def _table(rows: Sequence[Row]) -> JsonValue:
    first = rows[0]
    limit = f", {first['example_limit']} examples" if first["example_limit"] else ""
    variants, languages = counted(first["n_variants"], "variant"), counted(first["n_languages"], "language")
    return {
        "title": visible(
            f"{first['base_model']} · {first['task']}, {METRIC_LABELS[first['metric']]}, dev split{limit}"
        ),
        "note": visible(f"{variants} evaluated in {languages}; scoring rule {first['scoring_rule']}"),
        "dense": number(first["dense_value"]),
        "rows": [
            {
                "label": visible(str(row["label"])),
                "value": number(row["value"]),
                "change": _change(row),
            }
            for row in rows
        ],
    }


def _change(row: Row) -> str:
    """Return the difference to dense, for perplexity the ratio; a dash if dense is not evaluated yet."""
    if row["dense_value"] is None:
        return "–"
    if row["metric"] == "perplexity":
        return f"×{number(row['value'] / row['dense_value'])}"
    return number(row["value"] - row["dense_value"], signed=True)
