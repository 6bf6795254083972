"""All experts of a block in one product per layer equal the loop, and the number of kernels is that of few experts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlprune.capabilities.experts.routing import RoutingVisitor
from mlprune.errors import ModelError
from mlprune.models.experts import is_stack, one_by_one, stack_names
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.vocabulary import DtypeName
from tests.expert_models import EXPERT_TYPES, N_EXPERTS, TOP_K, save_expert_model
from tests.mlprune.models.inference.test_expert_costs import role_batch
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused
from tests.scored_texts import one_batch, some_texts

EVEN_SIZES: dict[str, Any] = {"moe_intermediate_size": 16, "intermediate_size": 16}
"""Rows of a multiple of 16 bytes in bfloat16, as the kernel wants."""


def experts_of(folder: Path, dtype: DtypeName = "float32") -> Any:
    """Return the experts of the last block, whose weights are slices of one tensor per layer."""
    chain = local_chain(folder, dtype=dtype)
    *_, experts = (module for module in chain.shards[0].runner.model.modules() if is_stack(module))
    for name in stack_names(experts):
        layers = [experts.get_submodule(f"{number}.{name}") for number in range(N_EXPERTS)]
        stack = torch.stack([layer.weight.detach() for layer in layers])
        vars(experts)["stacks"][name] = stack
        for layer, weight in zip(layers, stack, strict=True):
            layer.weight = nn.Parameter(weight, requires_grad=False)
    return experts


def routed_tokens(hidden_size: int = 16, n: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Return states, the experts of each token in any order, and their gate weights; no token chooses expert 1."""
    generator = torch.Generator().manual_seed(3)
    chosen = [torch.tensor([0, 2, 3])[torch.randperm(3, generator=generator)[:TOP_K]] for _ in range(n)]
    return torch.randn(n, hidden_size, generator=generator), torch.stack(chosen), torch.rand(n, TOP_K)


@torch.inference_mode()
def both_ways(experts: Any, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return the outputs of the loop, and those of the grouped products."""
    hidden, chosen, gates = routed_tokens()
    inputs = hidden.to(dtype), chosen, gates.to(dtype)
    with one_by_one():
        loop = experts(*inputs)
    return loop, experts(*inputs)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("model_type", EXPERT_TYPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 6e-2)])
def test_grouped_products_equal_the_loop(tmp_path: Path, model_type: str, dtype: DtypeName, tolerance: float) -> None:
    experts = experts_of(save_expert_model(tmp_path, model_type, **EVEN_SIZES), dtype)
    loop, grouped = both_ways(experts, getattr(torch, dtype))
    assert grouped.dtype == loop.dtype
    torch.testing.assert_close(grouped, loop, rtol=tolerance, atol=tolerance)
    assert loop.any()


def test_masks_and_biases_of_single_experts_reach_grouped_products(tmp_path: Path) -> None:
    experts = experts_of(save_expert_model(tmp_path))
    dense, _ = both_ways(experts)
    layer = experts.get_submodule("2.down_proj")
    layer.weight.detach().mul_(torch.rand(layer.weight.shape) > 0.5)
    layer.register_parameter("bias", nn.Parameter(torch.randn(16), requires_grad=False))
    loop, grouped = both_ways(experts)
    torch.testing.assert_close(grouped, loop, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(dense, loop)


def test_a_removed_expert_that_gets_a_token_is_an_error(tmp_path: Path) -> None:
    experts = experts_of(save_expert_model(tmp_path))
    hidden, chosen, gates = routed_tokens()
    vars(experts)["removed"] = frozenset({1})
    both_ways(experts)
    vars(experts)["removed"] = frozenset({2})
    with torch.inference_mode(), refused(ModelError, expert=[2]):
        experts(hidden, chosen, gates)
    with torch.inference_mode():
        experts(hidden, chosen, gates.masked_fill(chosen == 2, 0))


def costs(folder: Path, visitor: Any, batch: Any) -> tuple[int, int]:
    """Return kernels and waits of one batch in bfloat16 on a pretended GPU."""
    with pretended_gpus() as ledger:
        chain = local_chain(folder, dtype="bfloat16")
        ledger.clear()
        next(chain.stream(visitor, [batch]))
        return ledger.kernels, ledger.waits


@pytest.mark.thorough("runs a model for every case")
def test_scoring_starts_as_many_kernels_and_waits_as_seldom_for_any_number_of_experts(tmp_path: Path) -> None:
    folders = {
        (blocks, n): save_expert_model(tmp_path / f"{blocks}-{n}", n_experts=n, blocks=blocks, **EVEN_SIZES)
        for blocks, n in ((1, 4), (1, 16), (2, 16))
    }
    batch = one_batch(some_texts(heads=(4,)))
    found = {key: costs(folder, ScoringVisitor, batch) for key, folder in folders.items()}
    assert found[1, 4] == found[1, 16]
    assert found[2, 16][1] == found[1, 16][1]
    for visitor in (StatisticsVisitor, RoutingVisitor):  # they observe single experts
        assert costs(folders[1, 16], visitor, role_batch())[0] > costs(folders[1, 4], visitor, role_batch())[0]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("model_type", ["qwen3_moe", "gpt_oss"])
def test_masked_experts_score_on_a_gpu_as_on_the_cpu(tmp_path: Path, model_type: str) -> None:
    folder, batch = save_expert_model(tmp_path, model_type, **EVEN_SIZES), one_batch(some_texts(heads=(4,)))

    def scores() -> list[Tensor]:
        chain = local_chain(folder, dtype="bfloat16")
        layer = chain.shards[0].architecture().experts[1].layers(2)[1]
        weight = chain.shards[0].runner.modules[1].get_submodule(layer).get_parameter("weight")
        masks = {(1, layer): torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) > 0.5}
        found = []
        for chosen in (None, masks, None):
            chain.everywhere(Shard.set_keep_masks, chosen)
            found.append(next(chain.stream(ScoringVisitor, [batch])).log_probs)
        return found

    on_cpu = scores()
    with pretended_gpus():
        on_gpu = scores()
    assert torch.equal(on_gpu[0], on_gpu[2])
    assert not torch.equal(on_gpu[0], on_gpu[1])
    for one, other in zip(on_gpu, on_cpu, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)
