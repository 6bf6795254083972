"""Models that lack blocks, run together: the bits of each alone, and each block once on what they share."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch

from mlprune.models.inference.prefix_scoring import ScoringVisitor, SkippingVisitor
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.masks.masking import RemovedBlock
from mlprune.models.messages import ScoringBatch
from mlprune.models.shard import Shard
from mlprune.numeric.log_probs import TargetScores
from tests.scored_texts import one_batch, some_texts
from tests.tiny_models import FAMILY_NAMES

LACKS = (frozenset({1}), frozenset[int](), frozenset({0, 2}), frozenset({0}), frozenset({1}), frozenset({1, 2}))


def scores_together(chain: LocalChain, batch: ScoringBatch) -> Sequence[TargetScores]:
    (scores,) = chain.stream(lambda item: SkippingVisitor(ScoringVisitor(item), LACKS), [batch])
    return scores


def scores_alone(chain: LocalChain, batch: ScoringBatch, lacked: frozenset[int]) -> TargetScores:
    chain.everywhere(Shard.exchange_changes, partial(without, lacked=lacked))
    (scores,) = chain.stream(ScoringVisitor, [batch])
    return scores


def without(block: int, *, lacked: frozenset[int]) -> BlockChanges:
    return RemovedBlock() if block in lacked else BlockChanges({})


@pytest.mark.parametrize(
    ("family", "n_shards"),
    [
        ("xglm", 1),
        *(
            pytest.param(*case, marks=pytest.mark.thorough("runs a model for every case"))
            for case in ((family, n_shards) for family in (*FAMILY_NAMES, "gemma3_text") for n_shards in (1, 2))
        ),
    ],
)
def test_models_that_lack_blocks_have_the_scores_that_each_has_alone_bit_for_bit(
    family: str, n_shards: int, folders: dict[str, Path]
) -> None:
    batch = one_batch(some_texts(heads=(3, 1)))
    together, alone = local_chain(folders[family], n_shards=n_shards), local_chain(folders[family])
    for lacked, scores in zip(LACKS, scores_together(together, batch), strict=True):
        expected = scores_alone(alone, batch, lacked)
        assert torch.equal(scores.log_probs, expected.log_probs)
        assert torch.equal(scores.is_greedy, expected.is_greedy)


def test_each_block_runs_once_for_all_models_that_skipped_the_same_blocks(folders: dict[str, Path]) -> None:
    chain, batch, ran = local_chain(folders["xglm"]), one_batch(some_texts(heads=(3, 1))), list[int]()
    for block, module in chain.shards[0].runner.modules.items():
        module.register_forward_pre_hook(lambda *_, block=block: ran.append(block))
    scores_together(chain, batch)
    n_runs = [
        len({frozenset(one for one in lacked if one < block) for lacked in LACKS if block not in lacked})
        for block in range(3)
    ]
    assert n_runs == [1, 2, 3]
    assert [ran.count(block) for block in range(3)] == [n * (1 + len(batch.groups)) for n in n_runs]
