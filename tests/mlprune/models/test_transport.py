"""What leaves the process of a shard on an accelerator: only values on the CPU. Pickling a pretended tensor raises."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.models.inference.decoding import DecodingVisitor
from mlprune.models.inference.observation import (
    ActiveNeuronVisitor,
    CaptureVisitor,
    HiddenSumVisitor,
    InfluenceVisitor,
    StatisticsVisitor,
)
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.inference.visitor import BlockVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import DecodeStep
from mlprune.models.shard import Shard
from tests.chains import TensorPickler, run_visitor, text_batch
from tests.pretended_gpus import pretended_gpus
from tests.scored_texts import one_batch, some_texts

TOKENS = torch.tensor([[5, 9, 4, 7]])
VISITORS: dict[str, Callable[[], BlockVisitor[Any]]] = {
    "statistics": lambda: StatisticsVisitor(text_batch()),
    "hidden means": lambda: HiddenSumVisitor(text_batch()),
    "block influence": lambda: InfluenceVisitor(text_batch()),
    "neurons": lambda: ActiveNeuronVisitor(text_batch()),
    "activations": lambda: CaptureVisitor(text_batch(), inputs_of_block={0: ("fc1",), 2: ("fc2",)}),
    "scores": lambda: ScoringVisitor(one_batch(some_texts(heads=(4,)))),
    "decoding": lambda: DecodingVisitor(DecodeStep("key", TOKENS, torch.ones_like(TOKENS, dtype=torch.bool))),
}


def result_tensors(folder: Path, make: Callable[[], BlockVisitor[Any]]) -> list[torch.Tensor]:
    """Tensors of the pickled result of a visitor that was pickled between two shards, with a shift as LRP2 sets it."""
    chain = local_chain(folder, n_shards=2)
    chain.everywhere(Shard.set_shifts, {1: torch.ones(16)})
    pickler = TensorPickler(io.BytesIO())
    pickler.dump(run_visitor(chain.shards, make(), pickled=True))
    return pickler.tensors


@pytest.mark.parametrize("name", VISITORS)
def test_results_and_messages_between_shards_are_on_the_cpu(folders: dict[str, Path], name: str) -> None:
    expected = result_tensors(folders["xglm"], VISITORS[name])
    with pretended_gpus():
        tensors = result_tensors(folders["xglm"], VISITORS[name])
    assert [tensor.device.type for tensor in tensors] == ["cpu"] * len(expected)
    for tensor, reference in zip(tensors, expected, strict=True):
        torch.testing.assert_close(tensor, reference)


def test_a_result_on_an_accelerator_is_noticed(folders: dict[str, Path]) -> None:
    with pretended_gpus():
        chain = local_chain(folders["xglm"], n_shards=2)
        weight = chain.on_block(0, lambda shard: shard.masks.dense(0)["fc1"])
        with pytest.raises(Exception, match=r"cuda|device|pickle"):
            pickle.dumps(weight)
