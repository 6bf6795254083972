"""The numbers of frozen stores equal those that docs/definitions.md determines."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from catalog.store import Catalog
from infra.pages.frozen import thawed
from tests.recomputed import Recomputed, Row
from tests.recomputed_decisions import Decisions

CREDIT = "('accuracy', 'exact_match', 'perplexity')"
# kind -> function that recomputes a row, the rows, and how many of them a default run draws
KINDS = {
    "values": ("value", f"metrics WHERE metric IN {CREDIT}", 40),
    "calibration errors": ("value", "metrics WHERE metric = 'ece'", 20),
    "differences": ("difference", f"comparison_results WHERE metric IN {CREDIT}", 40),
    "differences of calibration errors": ("difference", "comparison_results WHERE metric = 'ece'", 20),
    "intervals of sign flips": ("sign_flip_interval", "comparison_results WHERE interval = 'sign_flip'", 20),
    "groups of languages": ("aggregate", f"aggregate_results WHERE metric IN {CREDIT}", 40),
    "intervals of groups": ("aggregate_interval", "aggregate_results WHERE interval = 'sign_flip'", 10),
    "families of comparisons": ("family", "internal.comparisons", 200),
    "families of groups": ("family", "internal.aggregates", 200),
    "power of comparisons": ("power", "internal.comparisons WHERE test = 'sign_flip'", 200),
    "power of groups": ("power", "internal.aggregates WHERE test IN ('sign_flip', 'minima')", 200),
    "answers": ("answer", "answers", 200),
    "tests of answers": ("answer_test", "answers WHERE p_margin IS NOT NULL OR n_variants > 1", 3),
    "answers over seeds": ("answer_over_seeds", "answers WHERE test = 'crossed_t'", 3),
    "power over seeds": ("power_over_seeds", "answers WHERE test = 'crossed_t' AND n_family IS NOT NULL", 6),
    "choices": ("choice", "choices", 6),
    "rank consistency": ("rank", "rank_consistency", 20),
    "losses": ("loss", "sensitivity WHERE metric = 'perplexity' AND group_kind = 'language'", 20),
}
OF_STUDIES = ("values", "differences", "intervals of sign flips", "groups of languages", "intervals of groups")
OF_STUDIES += ("families of comparisons", "families of groups", "power of comparisons", "power of groups", "answers")
OF_STUDIES += ("answers over seeds", "power over seeds")
# frozen store -> kinds of numbers that it has
STORES = {
    "demo": tuple(kind for kind in KINDS if kind not in ("losses", "answers over seeds", "power over seeds")),
    "where": (*OF_STUDIES, "losses"),
    "which-text": OF_STUDIES,
    "where-gemma": (*OF_STUDIES, "losses"),
    "which-mix": (*OF_STUDIES, "choices"),
}
CASES = [(store, kind) for store, kinds in STORES.items() for kind in kinds]
TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def opened() -> Iterator[Callable[[str], Decisions]]:
    """Return the functions that recompute a frozen store; each is unpacked once, in whatever order tests run."""
    with ExitStack() as stack:

        @cache
        def decisions(name: str) -> Decisions:
            store = stack.enter_context(thawed(name))
            catalog = stack.enter_context(Catalog.in_memory(store))
            return Decisions(Recomputed(catalog.query, store.local_root or Path()))

        yield decisions


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize(("store", "kind"), CASES)
def test_a_sample_of_numbers_equals_the_recomputed_ones(
    store: str, kind: str, opened: Callable[[str], Decisions]
) -> None:
    function, rows, n_drawn = KINDS[kind]
    counts, wrong = compared(opened(store), function, rows, n_drawn)
    assert counts.total()
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize(("store", "kind"), CASES)
def test_all_numbers_equal_the_recomputed_ones(store: str, kind: str, opened: Callable[[str], Decisions]) -> None:
    function, rows, _ = KINDS[kind]
    counts, wrong = compared(opened(store), function, rows)
    assert counts.total()
    assert wrong == []


def compared(
    decisions: Decisions, function: str, rows: str, n_drawn: int | None = None
) -> tuple[Counter[str], list[Any]]:
    """Compare rows, or a drawn sample; return the number of numbers of each column, and those that differ."""
    found = decisions.store.query(f"FROM {rows}")
    found.sort(key=lambda row: tuple(map(str, row.values())))
    chosen = found if n_drawn is None else random.Random(0).sample(found, min(n_drawn, len(found)))
    source = decisions if hasattr(decisions, function) else decisions.store
    counts: Counter[str] = Counter()
    wrong = []
    for row in chosen:
        for column, value in getattr(source, function)(row).items():
            counts[column] += 1
            if not is_equal(column, row[column], value):
                wrong.append((identified(row), column, row[column], value))
    return counts, wrong


def is_equal(column: str, stored: object, recomputed: Any) -> bool:
    """Return whether two values are equal: numbers up to 1e-9, and up to rounding around 0 unless it is a p-value."""
    if isinstance(stored, float) and recomputed is not None:
        around_0 = 0.0 if column.startswith(("p_", "q_")) else 1e-13
        return math.isclose(stored, recomputed, rel_tol=TOLERANCE, abs_tol=around_0)
    return bool(stored == recomputed)


def identified(row: Row) -> dict[str, Any]:
    """Return the columns that identify a row."""
    return {name: value for name, value in row.items() if name.endswith("_id") or name in ("language", "metric")}
