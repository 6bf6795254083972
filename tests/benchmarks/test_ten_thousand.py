"""The benchmark of ten thousand variants runs on a few, and its made-up store is sound."""

from pathlib import Path

import pytest

from tests.benchmarks.ten_thousand import PHASES, figures_of, growth, made_up_variants


@pytest.mark.slow
def test_every_phase_runs_and_the_made_up_store_is_sound(tmp_path: Path) -> None:
    figures = {phase: figures_of(phase, tmp_path, 12) for phase in PHASES}
    assert figures["plan"]["n_variants"] == 13
    assert figures["run"]["jobs"] == figures["status"]["done"] == figures["plan"]["jobs"]
    assert figures["fold"]["records"] > 12 * len(["dev", "test"]) * 6
    assert (figures["fold again"]["records"], figures["fold one"]["records"]) == (0, 1)
    assert figures["check"]["damages"] == []
    assert figures["gc"]["files"] == 0


def test_variants_are_distinct_and_one_is_dense() -> None:
    variants = made_up_variants(1_000)
    assert (
        len({(one.source, one.kind, one.seed, one.score, one.propagation, one.sparsity) for one in variants}) == 1_000
    )
    assert [one.number for one in variants if one.score is None] == [0]


def test_growth_is_one_if_time_is_linear_and_more_if_it_is_quadratic() -> None:
    sizes = (1_000, 3_000, 10_000)
    assert growth({n: 5.0 + 0.001 * n for n in sizes}) == pytest.approx(1.0)
    assert growth({n: 5.0 + 1e-6 * n * n for n in sizes}) == pytest.approx(3.25)
    assert growth({1_000: 1.0, 3_000: 2.0}) is None
