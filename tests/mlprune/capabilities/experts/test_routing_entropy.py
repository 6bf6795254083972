"""Routing entropy: formulas against plain loops, intervals, and the rows of a run."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.capabilities.experts.routing_entropy import (
    Entropy,
    RoutingEntropyJob,
    estimated,
    relative_entropy,
)
from mlprune.models.chain import Chain
from mlprune.models.local_chain import local_chain
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import cluster_resamples
from tests.chains import worker_threads
from tests.tiny_recipes import FinishedRun, copy_of

MEASURES = ("entropy_of_mean", "mean_entropy", "entropy_of_use")


def entropy_by_loop(weights: list[float]) -> float:
    shares = [one / sum(weights) for one in weights]
    return -sum(share * math.log(share) for share in shares if share) / math.log(len(weights))


def estimate(sums: Array) -> Entropy:
    return estimated(sums, relative_entropy, counts=cluster_resamples(len(sums)))


def test_the_entropy_of_shares_is_that_of_a_plain_loop() -> None:
    weights = np.random.default_rng(1).random((5, 7)) * np.array([1, 1, 0, 1, 5, 1, 1])
    expected = [entropy_by_loop(row.tolist()) for row in weights]
    np.testing.assert_allclose(relative_entropy(weights), expected, rtol=1e-12)


def test_equal_shares_give_one_and_a_single_expert_gives_zero() -> None:
    assert relative_entropy(np.full(6, 3.0)) == pytest.approx(1.0, abs=1e-12)
    assert relative_entropy(np.array([0.0, 4.0, 0.0])) == 0.0
    assert relative_entropy(np.array([9.0])) == 0.0


def test_scale_and_order_of_experts_do_not_change_an_entropy_and_mixing_does_not_lower_it() -> None:
    first, second = np.random.default_rng(2).dirichlet(np.ones(8), size=2)
    assert relative_entropy(7 * first) == pytest.approx(float(relative_entropy(first)))
    assert relative_entropy(first[::-1]) == pytest.approx(float(relative_entropy(first)))
    assert relative_entropy(first + second) >= (relative_entropy(first) + relative_entropy(second)) / 2


def test_intervals_contain_the_value_and_narrow_with_the_number_of_demonstrations() -> None:
    shares = np.random.default_rng(3).dirichlet(np.array([5.0, 2.0, 1.0, 0.5]), size=200)
    few, many = (estimate(100 * shares[:n]) for n in (20, 200))
    assert few.interval is not None
    assert many.interval is not None
    assert few.interval.contains(few.value)
    assert 0 <= few.interval.low < few.interval.high <= 1
    assert many.interval.width < 0.6 * few.interval.width


def test_a_single_demonstration_has_no_interval_and_equal_ones_reach_the_end_of_the_range() -> None:
    assert estimate(np.array([[3.0, 1.0]])).interval is None
    alike = estimate(np.tile([0.0, 5.0, 0.0], (10, 1)))
    assert alike.interval is not None
    assert alike.value == alike.interval.low == 0.0 < alike.interval.high < 0.35


@pytest.mark.thorough("resamples 300 samples")
def test_intervals_cover_the_entropy_of_the_population() -> None:
    generator = np.random.default_rng(4)
    alpha = np.array([6.0, 3.0, 2.0, 1.0, 1.0, 0.5])
    true = float(relative_entropy(alpha))
    n_covered = 0
    for _ in range(300):
        shares = generator.dirichlet(alpha, size=40)
        counts = np.stack([generator.multinomial(60, one) for one in shares]).astype(np.float64)
        interval = estimate(counts).interval
        assert interval is not None
        n_covered += interval.contains(true)
    assert 0.9 <= n_covered / 300 <= 0.99


def rows_of(run: FinishedRun, **query: str) -> list[dict[str, Any]]:
    with Catalog.in_memory(run.store) as catalog:
        pairs = [f"{name}={value}" for name, value in query.items()]
        return list(run_user_query(catalog, "routing_entropy_by_language", pairs).as_dicts())


def test_every_language_and_block_of_a_run_has_entropies_with_intervals_and_numbers(routing_run: FinishedRun) -> None:
    rows = rows_of(routing_run)
    assert {(row["kind"], row["role"], row["language"], row["block"]) for row in rows} == {
        (*one, block)
        for one in (
            ("monolingual", "source", "fr"),
            ("monolingual", "source", "ru"),
            ("translation", "source", "ru"),
            ("translation", "target", "fr"),
        )
        for block in range(2)
    }
    for row in rows:
        assert row["scoring"] == "softmax"
        assert row["n_tokens"] > row["n_demonstrations"] > 1
        for name in MEASURES:
            assert 0 <= row[f"{name}_ci_low"] <= row[name] <= row[f"{name}_ci_high"] <= 1
        assert row["mean_entropy"] <= row["entropy_of_mean"]
    assert len(rows_of(routing_run, language="ru", kind="monolingual")) == 2


def test_the_entropy_of_use_follows_from_the_expert_statistics(routing_run: FinishedRun) -> None:
    with Catalog.in_memory(routing_run.store) as catalog:
        counts = catalog.query("FROM expert_statistics ORDER BY expert")
        rows = catalog.query("FROM routing_entropy")
    for row in rows:
        keys = ("demonstration_set_id", "block", "role")
        routed = [float(one["n_routed"]) for one in counts if all(one[key] == row[key] for key in keys)]
        assert len(routed) == row["n_experts"]
        assert row["entropy_of_use"] == pytest.approx(entropy_by_loop(routed), abs=1e-12)


def _same(chain: Chain) -> Chain:
    return chain


@pytest.mark.parametrize(("n_shards", "n_threads"), [(2, 1), (1, 3)])
def test_shards_and_threads_change_no_byte(
    routing_run: FinishedRun, tmp_path: Path, n_shards: int, n_threads: int
) -> None:
    store = copy_of(routing_run.store, tmp_path / "store")
    job = next(job for job in routing_run.plan.jobs if isinstance(job, RoutingEntropyJob))
    before = store.require(*job.identity.key)
    with worker_threads(n_threads):
        job.run(store, partial(_same, local_chain(Path(routing_run.plan.model.path), n_shards=n_shards)))
    assert store.require(*job.identity.key) == before


def test_a_router_that_is_equal_for_all_experts_has_entropy_one(routing_run: FinishedRun, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = AutoModelForCausalLM.from_pretrained(routing_run.plan.model.path, dtype=torch.float32)
    for layer in model.model.layers:
        layer.mlp.gate.weight.data.zero_()
    model.save_pretrained(folder)
    store = copy_of(routing_run.store, tmp_path / "store")
    job = next(job for job in routing_run.plan.jobs if isinstance(job, RoutingEntropyJob))
    job.run(store, partial(_same, local_chain(folder)))
    for row in store.require(*job.identity.key).rows["routing_entropy"]:
        assert row["entropy_of_mean"] == pytest.approx(1.0, abs=1e-12)
        assert row["mean_entropy"] == pytest.approx(1.0, abs=1e-12)
        assert row["entropy_of_use"] == 0.0  # ties: one expert gets all tokens
