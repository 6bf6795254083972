"""What experts and their statistics cost: waits for an accelerator, and operations."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from mlprune.capabilities.experts.routing import RoleBatch, RoutingVisitor
from mlprune.models.chain import Chain
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.placement.memory_estimate import footprint
from mlprune.steps.job import SMALL_JOB_BYTES, SetSize, block_flops
from mlprune.steps.observe.block_pass import block_pass_cost
from mlprune.steps.prune.ordering import ordering_cost
from tests.expert_models import save_expert_model
from tests.pretended_gpus import pretended_gpus
from tests.scored_texts import one_batch, some_texts


def role_batch(n_tokens: int = 32) -> RoleBatch:
    token_ids = torch.randint(3, 90, (2, n_tokens), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(token_ids, dtype=torch.bool)
    return RoleBatch(token_ids, mask, mask, torch.ones_like(token_ids))


VISITORS: dict[str, tuple[Callable[..., BatchVisitor[Any]], Callable[[], Any], int]] = {
    "scoring": (ScoringVisitor, lambda: one_batch(some_texts(heads=(4,))), 2),
    "routing": (RoutingVisitor, role_batch, 1),
    "statistics": (StatisticsVisitor, role_batch, 1),
}
"""Visitor, its batch, and how often each block runs."""


def waits(folder: Path, visitor: Callable[..., BatchVisitor[Any]], batch: Any) -> int:
    with pretended_gpus() as ledger:
        chain = local_chain(folder)
        ledger.clear()
        next(chain.stream(visitor, [batch]))
        return ledger.waits


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", VISITORS)
def test_the_host_waits_for_blocks_and_never_for_experts(tmp_path: Path, name: str) -> None:
    visitor, batch, n_runs = VISITORS[name]
    counts = {
        (blocks, n_experts): waits(
            save_expert_model(tmp_path / f"{blocks}-{n_experts}", n_experts=n_experts, blocks=blocks), visitor, batch()
        )
        for blocks, n_experts in ((1, 4), (1, 16), (2, 16))
    }
    assert counts[1, 4] == counts[1, 16]
    assert counts[2, 16] - counts[1, 16] == n_runs


class ElementCounter(TorchDispatchMode):
    """Count the elements that operations without products read or write, whichever are more; views count as well."""

    n_elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket not in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm):
            tensors = [one for one in (*args, result) if isinstance(one, torch.Tensor)]
            self.n_elements += max((one.numel() for one in tensors), default=0)
        return result


def operations(chain: Chain, visitor: Callable[..., BatchVisitor[Any]], batch: Any) -> float:
    """Return operations of products, and one for each element that other operations work on."""
    with FlopCounterMode(display=False) as products, ElementCounter() as elements:
        next(chain.stream(visitor, [batch]))
    return float(products.get_total_flops() + elements.n_elements)


class PlainVisitor(BatchVisitor[None]):
    """Run the blocks and observe nothing."""

    def around_block(self, runner: Any, block: int, states: Any) -> Any:
        """Run a block."""
        return runner.step(block, states)

    def result(self) -> None:
        """Return nothing."""


@pytest.mark.thorough("runs a model for every case")
def test_routing_and_diagonal_statistics_cost_little_more_than_a_plain_pass(tmp_path: Path) -> None:
    sizes = {"hidden_size": 256, "moe_intermediate_size": 96, "head_dim": 32, "num_attention_heads": 8}
    chain = local_chain(save_expert_model(tmp_path, n_experts=16, **sizes))
    count = partial(operations, chain, batch=role_batch(128))
    plain = count(PlainVisitor)
    assert count(RoutingVisitor) + count(StatisticsVisitor) - plain < 1.3 * plain
    assert count(RoutingVisitor) < 1.1 * plain


@pytest.mark.parametrize(("n_experts", "top_k"), [(4, 4), (16, 2)])
def test_plans_count_the_products_of_chosen_experts_only(tmp_path: Path, n_experts: int, top_k: int) -> None:
    folder = save_expert_model(tmp_path, n_experts=n_experts, num_experts_per_tok=top_k)
    sizes, n_tokens = footprint(folder, "float32"), 20
    model = AutoModelForCausalLM.from_pretrained(folder)
    attention = sum(one.weight.numel() for one in model.model.layers[0].self_attn.modules() if type(one) is nn.Linear)
    one_expert = sum(stack[0].numel() for stack in model.model.layers[0].mlp.experts.parameters())
    assert block_flops(sizes, n_tokens) == 2 * n_tokens * 2 * (attention + top_k * one_expert)
    assert sum(sizes.prunable) == attention + n_experts * one_expert


def test_plans_count_the_gram_matrices_of_chosen_experts_only(tmp_path: Path) -> None:
    """Per token, the squared numbers of features of each distinct input that it has."""
    dense, mixture = (
        footprint(save_expert_model(tmp_path / str(n), n_experts=n, num_experts_per_tok=2), "float32") for n in (2, 16)
    )
    hidden, heads, features = 16, 16, 12
    of_two_experts = 2 * (hidden**2 + features**2)
    assert dense.idle_products == 0
    for sizes in (dense, mixture):
        assert sizes.input_products - sizes.idle_products == hidden**2 + heads**2 + of_two_experts
    assert mixture.input_products == dense.input_products + 7 * of_two_experts
    flops = [
        block_pass_cost("observe", sizes, SetSize(10, 1), batch_tokens=16, observed=("products",)).flops
        for sizes in (dense, mixture)
    ]
    assert flops[0] == flops[1]


@pytest.mark.thorough("runs a model for every case")
def test_pruning_a_block_of_experts_needs_its_packed_levels_and_one_layer(tmp_path: Path) -> None:
    """Three copies of one bit per weight, and per thread the weights and scores of one layer."""
    sizes = footprint(save_expert_model(tmp_path, n_experts=128, moe_intermediate_size=64), "bfloat16")
    cost = ordering_cost("prune", sizes, n_sparsities=1)
    assert cost.fixed_bytes - SMALL_JOB_BYTES == 3 * sum(sizes.prunable) // 8
    assert cost.thread_bytes == (2 + 6) * max(sizes.prunable)
    assert cost.memory_bytes(1) - SMALL_JOB_BYTES < sizes.block / 4 < 2 * sum(sizes.prunable)


def test_footprints_know_the_size_of_an_expert(tmp_path: Path) -> None:
    sizes = footprint(save_expert_model(tmp_path, "gpt_oss", n_experts=4), "float32")
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    experts = model.model.layers[0].mlp.experts
    assert sizes.expert == sum(stack[0].numel() * 4 for stack in experts.parameters())
    assert sizes.without_experts == (sizes.block - 4 * sizes.expert,) * 2
