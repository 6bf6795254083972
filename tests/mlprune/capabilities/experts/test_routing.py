"""Routing statistics against plain loops over tokens and experts."""

import itertools
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.capabilities.experts.routing import RoleBatch, Routing, RoutingVisitor
from mlprune.capabilities.experts.routing_sums import ROLES, SUMS
from mlprune.errors import StatisticsError
from mlprune.models.local_chain import local_chain
from tests.expert_models import EXPERT_TYPES, N_EXPERTS, save_expert_model
from tests.expert_routes import routed
from tests.pretended_gpus import pretended_gpus

LENGTHS = (9, 5, 7)


def role_batch() -> RoleBatch:
    """Three texts with padding, roles in turn, and a token of each that does not count."""
    generator = torch.Generator().manual_seed(5)
    token_ids = torch.randint(3, 90, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]
    counted = mask.clone()
    counted[:, 2] = False
    roles = (torch.arange(max(LENGTHS))[None] + torch.arange(len(LENGTHS))[:, None]) % len(ROLES)
    return RoleBatch(token_ids * mask, mask, counted, roles)


def observed(folder: Path, *, n_shards: int = 1) -> Routing:
    return next(local_chain(folder, n_shards=n_shards).stream(RoutingVisitor, [role_batch()]))


def by_loops(folder: Path) -> list[torch.Tensor]:
    """Return, per block with experts, [experts, b, roles, sums] by plain loops over texts that run alone."""
    model, batch = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), role_batch()
    texts = [routed(model, batch.token_ids[row, :length].tolist()) for row, length in enumerate(LENGTHS)]
    blocks = []
    for of_texts in zip(*texts, strict=True):
        sums = torch.zeros(N_EXPERTS, len(LENGTHS), len(ROLES), len(SUMS), dtype=torch.float64)
        for row, experts in enumerate(of_texts):
            for expert, own in enumerate(experts):
                for token, gate, norm in zip(own.tokens, own.gates, own.norms, strict=True):
                    if batch.counted[row, token]:
                        of_role = sums[expert, row, int(batch.roles[row, token])]
                        for index, (a, b) in enumerate(itertools.product((0, 1), (0, 1, 2))):
                            of_role[index] += gate**a * norm**b
        blocks.append(sums)
    return blocks


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_sums_of_every_type_are_those_of_plain_loops(tmp_path: Path, model_type: str) -> None:
    folder = save_expert_model(tmp_path, model_type)
    found, expected = observed(folder), by_loops(folder)
    first = int(model_type == "deepseek_v3")
    assert list(found.sums) == list(range(first, 2))
    for block, sums in found.sums.items():
        torch.testing.assert_close(sums, expected[block - first], rtol=2e-5, atol=1e-7)
        assert torch.equal(sums[..., 0], expected[block - first][..., 0])
        assert sums[..., 0].sum() == 2 * role_batch().counted.sum()


def test_tokens_are_counted_by_role_and_shards_change_no_byte(tmp_path: Path) -> None:
    folder = save_expert_model(tmp_path)
    one, two = observed(folder), observed(folder, n_shards=2)
    assert all(torch.equal(one.sums[block], two.sums[block]) for block in one.sums)
    batch = role_batch()
    for row, role in itertools.product(range(len(LENGTHS)), range(len(ROLES))):
        assert one.n_tokens[row, role] == ((batch.roles[row] == role) & batch.counted[row]).sum()


def test_an_output_that_is_not_finite_is_refused_and_its_block_named(tmp_path: Path) -> None:
    folder = save_expert_model(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.model.layers[1].mlp.experts.down_proj.data[:] = torch.inf
    model.save_pretrained(folder)
    with pytest.raises(StatisticsError) as raised:
        observed(folder)
    assert raised.value.context["block"] == 1


@pytest.mark.thorough("runs a model for every case")
def test_a_pretended_gpu_gives_the_same_sums_and_is_not_waited_for_by_expert(tmp_path: Path) -> None:
    waits = {}
    for n_experts in (4, 8):
        folder = save_expert_model(tmp_path / str(n_experts), n_experts=n_experts)
        expected = observed(folder)
        with pretended_gpus() as ledger:
            chain = local_chain(folder)
            ledger.clear()
            found = next(chain.stream(RoutingVisitor, [role_batch()]))
            waits[n_experts] = ledger.waits
        for block, sums in expected.sums.items():
            torch.testing.assert_close(found.sums[block], sums, rtol=1e-5, atol=1e-7)
    assert waits[8] <= waits[4]
