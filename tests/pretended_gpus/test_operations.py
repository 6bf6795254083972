"""Every operation on pretended GPUs: no mixed devices, no tensor of a device outside a shard, the values of the CPU.

The chain pickles what passes between shards and what they return, so a tensor that is still on a device raises.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.models.inference import spilled_states
from mlprune.models.local_chain import local_chain
from tests.pretended_gpus import pretended_gpus
from tests.pretended_gpus.operations import OPERATIONS, leaves
from tests.pretended_gpus.pickled_chain import pickled_chain
from tests.pretended_gpus.placements import N_GPUS, PLACEMENTS, place
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, FAMILY_NAMES

pytestmark = pytest.mark.thorough("computes on pretended devices")

SOME = ["observe", "score", "decode"]
DISTINCT = ("llama", "gemma3_text", "phi3")
"""Besides the paper's families: gated blocks, two kinds of blocks with their masks, and fused projections."""
FEW = [*(name for name in OPERATIONS if "sweep" not in name), "sweep wanda row", "sweep sparsegpt 2:4"]


@pytest.fixture(scope="module")
def on_cpu(folder_of: Callable[[str], Path]) -> Callable[[str, str], list[Any]]:
    """Architecture and operation -> result on the CPU."""
    chain = cache(lambda family: local_chain(folder_of(family)))
    return cache(lambda family, name: list(leaves(OPERATIONS[name](chain(family), ARCHITECTURES[family]))))


def cases():
    """All operations on one family; some on the paper's others and on distinct ones. The rest is slow."""
    for family in ALL_FAMILY_NAMES:
        for placement in PLACEMENTS:
            for n_shards in (1, 2):
                chosen = {("xglm", "two"): OPERATIONS, ("gpt2", "blocks on the cpu"): FEW, ("bloom", "in turn"): FEW}
                if family in DISTINCT:
                    chosen[family, "in turn"] = SOME
                names = list(chosen.get((family, placement), ())) if n_shards == 1 + (family in FAMILY_NAMES) else []
                if names:
                    yield pytest.param(family, placement, n_shards, names, id=f"{family}-{placement}-{n_shards}")
                if len(names) < len(OPERATIONS):
                    name = f"all-{family}-{placement}-{n_shards}"
                    yield pytest.param(family, placement, n_shards, list(OPERATIONS), id=name, marks=pytest.mark.slow)


@pytest.mark.parametrize(("family", "placement", "n_shards", "names"), cases())
def test_an_operation_gives_the_values_of_the_cpu(monkeypatch, folder_of, on_cpu, family, placement, n_shards, names):
    expected = {name: on_cpu(family, name) for name in names}
    place(monkeypatch, placement)
    with pretended_gpus(N_GPUS) as ledger:
        chain = pickled_chain(folder_of(family), n_shards=n_shards)
        for name in names:
            ledger.clear()
            results = list(leaves(OPERATIONS[name](chain, ARCHITECTURES[family])))
            assert ledger.kernels, f"{name} ran nothing on a GPU"
            for result, value in zip(results, expected[name], strict=True):
                assert_equal(name, result, value)


@pytest.mark.parametrize("n_shards", [1, 2])
def test_states_on_disk_give_the_same_values(monkeypatch, folder_of, on_cpu, n_shards):
    """Of a pass with gradients, of sweeps that change weights, and of a reconstruction; on a CPU and on a GPU."""
    monkeypatch.setattr(spilled_states, "MAX_STATE_BYTES", 0)
    for n_gpus in (0, 1):
        with pretended_gpus(n_gpus) if n_gpus else nullcontext():
            chain = pickled_chain(folder_of("xglm"), n_shards=n_shards)
            for name in ("observe block by block", "sweep sparsegpt matrix", "reconstruct"):
                results = leaves(OPERATIONS[name](chain, ARCHITECTURES["xglm"]))
                for result, value in zip(results, on_cpu("xglm", name), strict=True):
                    assert_equal(name, result, value)


def assert_equal(name: str, result: Any, expected: Any) -> None:
    """Require equal bits, except in sums that a GPU adds in another order."""
    if not isinstance(expected, torch.Tensor):
        assert result == expected, name
    elif expected.is_floating_point():
        torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6, msg=lambda found: f"{name}: {found}")
    else:
        assert torch.equal(result, expected), name
