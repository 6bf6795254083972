"""Tokens are counted where they enter the model; the peak memory of a process can be reset."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.models.chain import Chain
from mlprune.models.messages import Continuations, DecodeStep, ScoringBatch, TokenBatch
from ray_jobs.workers.resource_usage import CountingChain, PeakMemory, n_tokens_of, peak_bytes

ONES = torch.ones(2, 5, dtype=torch.bool)
BATCH = TokenBatch(torch.zeros(2, 5, dtype=torch.int64), ONES, ONES)


class Recording:
    """A chain that records its calls."""

    n_blocks = 3
    spans = (range(3),)

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def stream(self, operation: str, items: Iterable[Any]) -> Iterator[Any]:
        self.asked.append(operation)
        return iter(items)

    def on_block(self, block: int, operation: str, *args: Any) -> Any:
        self.asked.append((block, operation, args))
        return "block"

    def everywhere(self, operation: str, *args: Any) -> list[Any]:
        self.asked.append((operation, args))
        return ["all"]


def test_all_tokens_that_enter_a_model_are_counted_padding_included() -> None:
    ids = torch.zeros(4, 7, dtype=torch.int64)
    after = Continuations(ids, ids == 0, torch.zeros(4, dtype=torch.int64))
    scored = ScoringBatch(ids[:2, :3], ids[:2, :3] == 0, (after, after), torch.tensor([0]), torch.tensor([0]))
    decoded = DecodeStep("key", torch.zeros(3, 1, dtype=torch.int64), torch.ones(3, 9, dtype=torch.bool))
    assert [n_tokens_of(one) for one in (BATCH, scored, decoded, "text")] == [10, 6 + 2 * 28, 3, 0]


def test_a_counting_chain_forwards_to_its_chain() -> None:
    inner = Recording()
    chain: Chain = (counting := CountingChain(inner))
    assert (chain.n_blocks, chain.spans) == (3, (range(3),))
    assert list(chain.stream("observe", [BATCH, BATCH])) == [BATCH, BATCH]
    assert chain.on_block(0, "sweep_start", ("", 0), BATCH) == "block"
    assert chain.on_block(1, "sweep_advance", 1, [BATCH]) == "block"
    assert chain.everywhere("rest", 1) == ["all"]
    assert inner.asked[0] == "observe"
    assert inner.asked[-1] == ("rest", (1,))
    assert counting.n_tokens == 30


def test_batches_are_drawn_only_when_needed() -> None:
    chain = CountingChain(Recording())
    stream = chain.stream("observe", iter([BATCH, BATCH]))
    assert chain.n_tokens == 0
    next(stream)
    assert chain.n_tokens == 10


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak of a process")
def test_memory_freed_before_the_measurement_is_not_in_the_peak() -> None:
    before = torch.ones(64 * 2**20)
    held = peak_bytes()
    del before
    peak = PeakMemory()
    if not peak.is_of_job:
        pytest.skip("this system forbids resetting it")
    assert peak.gib() * 2**30 < held - 100 * 2**20
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
