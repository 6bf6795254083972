"""The benchmark of search methods: its targets on 20 seeds, and every part with few."""

from dataclasses import replace

import pytest

from mlprune.capabilities.search.strategy.method import Settings
from mlprune.capabilities.search.strategy.methods.halving import HalvingParameters
from tests.benchmarks.search_methods import PARTS, RUNGS, selection


def test_halving_finds_the_best_of_64_candidates_with_a_third_of_the_items() -> None:
    settings = Settings(HalvingParameters(), rung_items=RUNGS, reuses_items=False)
    runs = [selection("halving", replace(settings, seed=seed), 5.0) for seed in range(20)]
    assert max(n_items for n_items, _, _ in runs) <= 0.3 * 64 * RUNGS[-1]
    assert sum(loss <= 0.005 + 1e-12 for _, loss, _ in runs) >= 19


@pytest.mark.slow
@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_part_has_rows(part: str) -> None:
    rows = list(PARTS[part](3))
    assert len(rows) >= 6
    for row in rows:
        assert 0 <= float(str(row.get("within 0.5", 0))) <= 1
        if row["what"] == "planted" and row["method"] == "evolution":
            assert row["found"] == 3
