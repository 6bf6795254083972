"""States that later variants continue: equal bits, fewer blocks, bounded memory."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.kept_states import KeptStates
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.models.masks.block_changes import DENSE, BlockChanges
from mlprune.models.messages import HiddenStates, ScoringBatch
from mlprune.models.shard import Shard
from tests.chains import random_masks, text_batch
from tests.scored_texts import one_batch, some_texts
from tests.tiny_models import FAMILY_NAMES


@dataclass(frozen=True)
class ChangedBlocks:
    """Random masks of some blocks; the other blocks are dense."""

    masks: dict[tuple[int, str], Tensor]
    blocks: tuple[int, ...]

    def __call__(self, block: int) -> BlockChanges:
        changed = {layer: mask for (owner, layer), mask in self.masks.items() if owner == block in self.blocks}
        return BlockChanges.of(changed)

    def source(self, block: int) -> Hashable:
        """Whether the block has its masks."""
        return block in self.blocks


@pytest.fixture
def blocks_that_ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The blocks that run from now on, one entry for each group of rows."""
    ran: list[int] = []
    step = BlockRunner.step

    def counted(runner: BlockRunner, block: int, *args: object) -> HiddenStates:
        ran.append(block)
        return step(runner, block, *args)

    monkeypatch.setattr(BlockRunner, "step", counted)
    return ran


def scores(chain: LocalChain, batches: list[ScoringBatch], *, keeps_states: bool = True) -> list[Tensor]:
    """Log-probabilities of all targets of each batch."""
    return [one.log_probs for one in chain.stream(partial(ScoringVisitor, keeps_states=keeps_states), batches)]


def some_batches() -> list[ScoringBatch]:
    return [one_batch(some_texts(heads=heads)) for heads in ((4,), (3, 1))]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_variants_that_continue_kept_states_have_the_scores_of_a_new_model_bit_for_bit(
    family: str, folders: dict[str, Path]
) -> None:
    masks, batches = random_masks(folders[family]), some_batches()
    chain, other = local_chain(folders[family]), local_chain(folders[family])
    for blocks in ((), (2,), (1,), (1, 2), (0,), (), (2,)):
        changes = ChangedBlocks(masks, blocks)
        for one in (chain, other):
            one.everywhere(Shard.exchange_changes, changes)
        kept, whole = scores(chain, batches), scores(other, batches, keeps_states=False)
        assert all(torch.equal(*pair) for pair in zip(kept, whole, strict=True))


def test_a_variant_runs_from_its_first_changed_block_on(folders: dict[str, Path], blocks_that_ran: list[int]) -> None:
    masks, (batch, _) = random_masks(folders["xglm"]), some_batches()
    chain = local_chain(folders["xglm"])
    scores(chain, [batch])
    for blocks, expected in (((2,), {2}), ((1, 2), {1, 2}), ((0,), {0, 1, 2}), ((1,), {1, 2})):
        blocks_that_ran.clear()
        chain.everywhere(Shard.exchange_changes, ChangedBlocks(masks, blocks))
        scores(chain, [batch])
        assert set(blocks_that_ran) == expected
        assert len(blocks_that_ran) == len(expected) * (1 + len(batch.groups))


def test_masks_from_an_unknown_source_and_shifts_use_only_the_states_before_them(
    folders: dict[str, Path], blocks_that_ran: list[int]
) -> None:
    masks, (batch, _) = random_masks(folders["xglm"]), some_batches()
    chain = local_chain(folders["xglm"])
    dense = scores(chain, [batch])
    for method, argument, expected in (
        (Shard.set_keep_masks, {key: mask for key, mask in masks.items() if key[0] == 1}, {1, 2}),
        (Shard.set_keep_masks, None, {2}),
        (Shard.set_shifts, {0: torch.ones(16)}, {0, 1, 2}),
        (Shard.set_shifts, {1: torch.ones(16)}, {1, 2}),
    ):
        chain.everywhere(method, argument)
        blocks_that_ran.clear()
        changed = scores(chain, [batch])
        assert set(blocks_that_ran) == expected
        assert torch.equal(changed[0], dense[0]) == (argument is None)
    chain.everywhere(Shard.set_shifts, None)
    assert torch.equal(scores(chain, [batch])[0], dense[0])


def test_an_observation_a_sweep_and_a_failed_job_drop_all_states(
    folders: dict[str, Path], blocks_that_ran: list[int]
) -> None:
    chain, (batch, _) = local_chain(folders["xglm"]), some_batches()
    for drop in (
        lambda: list(chain.stream(StatisticsVisitor, [text_batch(range(2))])),
        lambda: chain.everywhere(Shard.sweep_start, 0, text_batch(range(2))),
        lambda: chain.everywhere(Shard.drop_states),
    ):
        scores(chain, [batch])
        drop()
        blocks_that_ran.clear()
        scores(chain, [batch])
        assert set(blocks_that_ran) == {0, 1, 2}


def test_several_shards_keep_nothing(folders: dict[str, Path]) -> None:
    assert all(shard.runner.kept_states is None for shard in local_chain(folders["xglm"], n_shards=2).shards)


def test_batches_of_equal_content_have_one_key_and_others_another() -> None:
    first, second = some_batches()
    again = some_batches()[0]
    assert first.key == again.key != second.key


def states(n_numbers: int) -> tuple[HiddenStates]:
    """States of 4 bytes per number."""
    return (HiddenStates(torch.zeros(n_numbers), {}),)


class Contents:
    """Sources of the blocks, which a test changes."""

    def __init__(self, *sources: Hashable) -> None:
        self.sources = sources

    def __call__(self) -> tuple[Hashable, ...]:
        return self.sources


def n_kept(kept: KeptStates, batches: str) -> Iterator[bool]:
    return (kept.nearest(batch, (0,)) is not None for batch in batches)


def test_states_give_way_once_two_variants_did_not_use_them() -> None:
    contents = Contents("a")
    kept = KeptStates(contents, limit_bytes=100)
    kept.path()
    for batch in "abc":
        kept.keep(batch, 0, states(10))
    assert list(n_kept(kept, "abc")) == [True, True, False]
    for source in ("b", "c"):
        contents.sources = (source,)
        kept.path()
        kept.nearest("b", (0,))
        kept.keep("c", 0, states(10))
    assert list(n_kept(kept, "abc")) == [False, True, True]
    kept.clear()
    assert not any(n_kept(kept, "abc"))


def test_states_that_are_larger_than_the_memory_are_not_kept() -> None:
    kept = KeptStates(Contents(), limit_bytes=100)
    kept.path()
    kept.keep("a", 0, states(26))
    assert kept.nearest("a", (0,)) is None


def test_less_memory_drops_states_that_do_not_fit_any_more() -> None:
    kept = KeptStates(Contents(), limit_bytes=100)
    kept.keep("a", 0, states(10))
    kept.plan(40, n_shared=0)
    assert kept.nearest("a", (0,)) is not None
    kept.plan(39, n_shared=0)
    assert kept.nearest("a", (0,)) is None


def test_states_of_changed_blocks_are_kept_as_far_as_the_next_variant_shares_them() -> None:
    contents = Contents(DENSE, "a", "b", "c")
    kept = KeptStates(contents, limit_bytes=100)
    assert len(kept.path()) == 1 + 1
    kept.plan(100, n_shared=3)
    path = kept.path()
    assert len(path) == 1 + 3
    kept.keep("x", path[3], states(1))
    kept.plan(100, n_shared=0)
    contents.sources = (DENSE, "a", "b", "d")
    assert kept.path() == path
    nearest = kept.nearest("x", kept.path())
    assert nearest is not None
    assert nearest[0] == 3
    contents.sources = (DENSE, "b", "b", "d")
    assert kept.nearest("x", kept.path()) is None
