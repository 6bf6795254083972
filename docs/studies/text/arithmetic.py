"""Compare the results of a recipe under two arithmetics: log perplexities, and differences between variants.

    python docs/studies/text/arithmetic.py STORE OTHER_STORE

Values correspond if their variants read the same set of demonstrations and prune the same part of the model, and their
language is the same. A difference is that of two variants of the same part, in one language or in the mean of all. The
output is a CSV table with the number of values, and the median and the largest change from one store to the other.
"""

import csv
import sys
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from catalog.store import Catalog
from mlprune.store.store import Store

VALUES = """
SELECT coalesce(v.demonstration_set_id, v.score, 'dense') AS text, coalesce(v.scope::VARCHAR, '') AS part, m.language,
    ln(m.value) AS value
FROM metrics AS m JOIN variants AS v USING (variant_id)
WHERE m.metric = 'perplexity' AND m.split = 'test'
"""
Values = Mapping[tuple[str, str], Mapping[str, float]]
"""(part, text) -> language -> log perplexity."""


def log_perplexities(store: str) -> Values:
    """Return the values of a store."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    with Catalog.in_memory(Store(store)) as catalog:
        for row in catalog.query(VALUES):
            values.setdefault((row["part"], row["text"]), {})[row["language"]] = row["value"]
    return values


def changes(first: Values, second: Values) -> dict[str, list[float]]:
    """Return kind of number -> changes from one store to the other, of what both have."""
    moved = {
        key: {language: second[key][language] - first[key][language] for language in first[key].keys() & second[key]}
        for key in sorted(first.keys() & second)
    }
    pairs = [(moved[a], moved[b]) for a, b in combinations(moved, 2) if a[0] == b[0] and "dense" not in (a[1], b[1])]
    differences = [[one[language] - other[language] for language in one] for one, other in pairs]
    return {
        "log perplexity": [change for of in moved.values() for change in of.values()],
        "difference of two variants": [change for of in differences for change in of],
        "difference, mean of the languages": [float(np.mean(of)) for of in differences],
    }


def main(store: str, other: str) -> None:
    """Print the table."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["number", "n", "median_change", "largest_change"])
    for kind, of in changes(log_perplexities(store), log_perplexities(other)).items():
        size = np.abs(of)
        table.writerow([kind, len(of), f"{np.median(size):.4f}", f"{size.max():.4f}"])


if __name__ == "__main__":
    main(*sys.argv[1:])
