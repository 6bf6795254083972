"""Tokens are counted where they enter the model; the peak memory of a process can be reset."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.models.chain import Chain
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.messages import Continuations, DecodeStep, ScoringBatch, TokenBatch
from mlprune.models.shard import Shard
from ray_jobs.workers.resource_usage import CountingChain, PeakMemory, peak_bytes

ONES = torch.ones(2, 5, dtype=torch.bool)
BATCH = TokenBatch(torch.zeros(2, 5, dtype=torch.int64), ONES, ONES)


class Recording:
    """A chain that records its calls."""

    n_blocks = 3
    spans = (range(3),)

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def stream(self, operation: Any, items: Iterable[Any]) -> Iterator[Any]:
        self.calls.append(operation)
        return iter(items)

    def on_block(self, block: int, method: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((block, method, args, kwargs))
        return "block"

    def everywhere(self, method: Any, *args: Any, **kwargs: Any) -> list[Any]:
        self.calls.append((method, args, kwargs))
        return ["all"]


def test_all_tokens_that_enter_a_model_are_counted_padding_included() -> None:
    ids = torch.zeros(4, 7, dtype=torch.int64)
    after = Continuations(ids, ids == 0, torch.zeros(4, dtype=torch.int64))
    scored = ScoringBatch(ids[:2, :3], ids[:2, :3] == 0, (after, after), torch.tensor([0]), torch.tensor([0]))
    decoded = DecodeStep("key", torch.zeros(3, 1, dtype=torch.int64), torch.ones(3, 9, dtype=torch.bool))
    chain = CountingChain(Recording())
    for item, n_tokens in ((BATCH, 10), (scored, 6 + 2 * 28), (decoded, 3)):
        chain.n_tokens = 0
        list(chain.stream(StatisticsVisitor, [item]))  # type: ignore[arg-type, list-item]
        assert chain.n_tokens == n_tokens


def test_a_counting_chain_forwards_to_its_chain() -> None:
    inner = Recording()
    chain: Chain = (counting := CountingChain(inner))
    assert (chain.n_blocks, chain.spans) == (3, (range(3),))
    assert list(chain.stream(StatisticsVisitor, [BATCH, BATCH])) == [BATCH, BATCH]
    assert chain.on_block(0, Shard.sweep_start, ("", 0), BATCH) == "block"
    assert chain.on_block(1, Shard.sweep_observe, 1, ["key"], with_products=True) == "block"
    assert chain.everywhere(Shard.end_session, "key") == ["all"]
    assert inner.calls[0] is StatisticsVisitor
    assert inner.calls[-2:] == [
        (1, Shard.sweep_observe, (1, ["key"]), {"with_products": True}),
        (Shard.end_session, ("key",), {}),
    ]
    assert counting.n_tokens == 30


def test_batches_are_drawn_only_when_needed() -> None:
    chain = CountingChain(Recording())
    stream = chain.stream(StatisticsVisitor, iter([BATCH, BATCH]))
    assert chain.n_tokens == 0
    next(stream)
    assert chain.n_tokens == 10


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak of a process")
def test_memory_freed_before_the_measurement_is_not_in_the_peak() -> None:
    before = torch.ones(64 * 2**20)
    peak_before = peak_bytes()
    del before
    peak = PeakMemory()
    if not peak.is_of_job:
        pytest.skip("this system forbids resetting it")
    assert peak.gib() * 2**30 < peak_before - 100 * 2**20
    again = torch.ones(32 * 2**20)
    grown = peak.gib()
    del again
    assert peak.gib() == pytest.approx(grown, rel=0.02)
    assert grown > 100 / 1024


def test_a_peak_that_cannot_be_reset_is_that_of_the_process(tmp_path: Path) -> None:
    peak = PeakMemory(clear_refs=tmp_path / "nowhere" / "clear_refs")
    assert not peak.is_of_job
    assert peak.gib() == pytest.approx(peak_bytes() / 2**30, rel=0.05)
    blind = PeakMemory(clear_refs=tmp_path / "clear_refs", status=tmp_path / "status")
    assert not blind.is_of_job
