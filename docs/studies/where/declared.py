"""Compute the declared differences of a store again in a store with another arithmetic, and show by how much they move.

    python docs/studies/where/declared.py STORE OTHER_STORE

A line per declared question of the first store: the difference of log perplexity between the means of its variants and
of its baselines, in each store, and the change. The last line has the largest change.
"""

import sys

from catalog.store import Catalog
from mlprune.store.store import Store

QUESTIONS = """
SELECT DISTINCT name, variants, against, group_name AS language FROM questions
WHERE is_declared AND metric = 'perplexity' AND group_kind = 'language' ORDER BY name
"""
MEANS = """
SELECT n.name, m.language, avg(ln(m.value)) AS mean
FROM measured AS m JOIN names AS n ON n.kind = 'variant' AND n.id = m.variant_id
WHERE m.metric = 'perplexity' AND m.split = 'test'
GROUP BY ALL
"""
Means = dict[tuple[str, str], float]
"""(name of variants, language) -> mean log perplexity."""


def main(store: str, other: str) -> None:
    """Print the differences."""
    with Catalog.in_memory(Store(store)) as catalog:
        questions, first = catalog.query(QUESTIONS), _means(catalog)
    with Catalog.in_memory(Store(other)) as catalog:
        second = _means(catalog)
    moved = []
    for question in questions:
        pair = [(question[side], question["language"]) for side in ("variants", "against")]
        before, after = (means[pair[0]] - means[pair[1]] for means in (first, second))
        moved.append(abs(after - before))
        sys.stdout.write(f"{question['name']} {before:+.3f} {after:+.3f} {after - before:+.3f}\n")
    sys.stdout.write(f"largest {max(moved):.3f}\n")


def _means(catalog: Catalog) -> Means:
    return {(row["name"], row["language"]): row["mean"] for row in catalog.query(MEANS)}


if __name__ == "__main__":
    main(*sys.argv[1:])
