"""Distributions of routers against plain float64 loops over what the routers of the model library return."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.capabilities.experts.router_distribution import RouterBatch, RouterVisitor, log_distributions
from mlprune.capabilities.experts.routing import RoleBatch
from mlprune.capabilities.experts.routing_sums import ROLES
from mlprune.errors import StatisticsError
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.experts import is_stack
from mlprune.models.local_chain import local_chain
from tests.expert_models import EXPERT_TYPES, N_EXPERTS, expert_model, save_expert_model
from tests.pretended_gpus import pretended_gpus
from tests.tiny_types import save_tiny_model_of

LENGTHS = (9, 5, 7)
OTHER_TYPES = {
    **dict.fromkeys(("flex_olmo", "jamba", "minimax", "qwen3_next", "ernie4_5_moe", "hunyuan_v1_moe"), "softmax"),
    **dict.fromkeys(("laguna", "lfm2_moe", "minimax_m2", "afmoe", "kolibri1", "glm4_moe", "nemotron_h"), "sigmoid"),
}
"""Types whose gate weights are proportional to the distribution -> scoring function."""


def role_batch() -> RoleBatch:
    """Three texts with padding, roles in turn, and a token of each that does not count."""
    generator = torch.Generator().manual_seed(5)
    token_ids = torch.randint(3, 90, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]
    counted = mask.clone()
    counted[:, 2] = False
    roles = (torch.arange(max(LENGTHS))[None] + torch.arange(len(LENGTHS))[:, None]) % len(ROLES)
    return RoleBatch(token_ids * mask, mask, counted, roles)


def observed(folder: Path, *, n_shards: int = 1) -> RouterBatch:
    return next(local_chain(folder, n_shards=n_shards).stream(RouterVisitor, [role_batch()]))


def returned(folder: Path) -> list[dict[int, tuple[Tensor, Tensor, Tensor]]]:
    """Return, per text that runs alone, block -> what its router returned: logits, and experts and gate weights."""
    architecture = architecture_at(folder)
    model, batch = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), role_batch()
    seen: dict[str, Any] = {}
    for block, experts in architecture.experts.items():
        module = model.get_submodule(f"{architecture.blocks}.{block}")
        module.get_submodule(str(experts.choosing)).register_forward_hook(
            lambda _module, _args, result, block=block: seen.update({f"logits {block}": result[0]})
        )
        stack = next(one for one in module.modules() if is_stack(one))
        stack.register_forward_pre_hook(
            lambda _module, args, block=block: seen.update({f"index {block}": args[1], f"gates {block}": args[2]})
        )
    texts = []
    for row, length in enumerate(LENGTHS):
        with torch.no_grad():
            model(input_ids=batch.token_ids[row : row + 1, :length], use_cache=False)
        texts.append({b: (seen[f"logits {b}"], seen[f"index {b}"], seen[f"gates {b}"]) for b in architecture.experts})
    return texts


def distribution(logits: Tensor, scoring: str) -> list[float]:
    """Return the distribution of one token by a plain loop."""
    values = [float(one) for one in logits]
    scores = [math.exp(one - max(values)) if scoring == "softmax" else 1 / (1 + math.exp(-one)) for one in values]
    return [score / sum(scores) for score in scores]


@pytest.mark.parametrize(
    "model_type",
    [
        one if one in ("qwen3_moe", "deepseek_v3") else pytest.param(one, marks=pytest.mark.thorough("runs a model"))
        for one in EXPERT_TYPES
    ],
)
def test_sums_of_every_type_are_those_of_plain_loops(tmp_path: Path, model_type: str) -> None:
    changes = {"expert_selection_fn": "sigmoid"} if model_type == "cohere2_moe" else {}
    folder = save_expert_model(tmp_path, model_type, **changes)
    found, batch = observed(folder), role_batch()
    scoring = "sigmoid" if model_type in ("deepseek_v3", "cohere2_moe") else "softmax"
    assert set(found.scoring.values()) == {scoring}
    expected = {block: torch.zeros(len(LENGTHS), len(ROLES), N_EXPERTS + 1).double() for block in found.sums}
    for row, of_text in enumerate(returned(folder)):
        for block, (logits, _, _) in of_text.items():
            for token in range(LENGTHS[row]):
                if batch.counted[row, token]:
                    p = distribution(logits[token], scoring)
                    entropy = -sum(one * math.log(one) for one in p)
                    expected[block][row, batch.roles[row, token]] += torch.tensor([*p, entropy]).double()
    assert found.distributions.keys() == expected.keys() != set()
    for block, sums in expected.items():
        torch.testing.assert_close(found.distributions[block], sums, rtol=2e-5, atol=1e-6)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("model_type", "scoring"), [*OTHER_TYPES.items(), *dict.fromkeys(EXPERT_TYPES, "").items()])
def test_gate_weights_are_proportional_to_the_distribution(tmp_path: Path, model_type: str, scoring: str) -> None:
    """Biases that only balance the choice differ from 0 where a type has them."""
    if model_type in EXPERT_TYPES:
        model = expert_model(model_type)
        for name, buffer in model.named_buffers():
            if name.endswith("_bias"):
                buffer.copy_(torch.tensor([0.9, 0.1, -0.3, 0.4]))
        folder = save_expert_model(tmp_path, model_type)
        model.save_pretrained(folder)
    else:
        folder = save_tiny_model_of(tmp_path, model_type)
    logs = observed_logs(folder)
    assert logs.scoring.keys() == logs.sums.keys() != set()
    assert not scoring or set(logs.scoring.values()) == {scoring}
    for row, of_text in enumerate(returned(folder)):
        for block, (_, index, gates) in of_text.items():
            for token in range(LENGTHS[row]):
                p = logs.tokens[block][row * max(LENGTHS) + token].exp()
                ratios = gates[token].double() / p[index[token]]
                torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), rtol=1e-4, atol=1e-6)


class Logged(RouterVisitor):
    """Also keeps the distribution of every token."""

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        if name == "logits":
            vars(self).setdefault("tokens", {})[block] = log_distributions(tensor, self.scoring[block])
        super().keep(block, name, tensor)

    def finish(self, runner: Any, states: Any) -> Any:
        super().finish(runner, states)
        return self


def observed_logs(folder: Path) -> Any:
    return next(local_chain(folder).stream(Logged, [role_batch()]))


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "scoring"), [("phimoe", "softmax"), ("llama4_text", "sigmoid")])
def test_experts_that_a_router_left_out_before_it_scored_keep_their_logits(
    tmp_path: Path, name: str, scoring: str
) -> None:
    logs = observed_logs(save_tiny_model_of(tmp_path, name))
    assert set(logs.scoring.values()) == {scoring}
    assert all(bool((one > -50).all()) for one in logs.tokens.values())


@pytest.mark.thorough("runs a model for every case")
def test_a_router_with_a_scale_of_its_inputs_has_the_probabilities_that_it_returns(tmp_path: Path) -> None:
    folder = save_tiny_model_of(tmp_path, "gemma4_text, experts")
    logs = observed_logs(folder)
    for row, of_text in enumerate(returned(folder)):
        for block, (probabilities, _, _) in of_text.items():
            start = row * max(LENGTHS)
            found = logs.tokens[block][start : start + LENGTHS[row]].exp()
            torch.testing.assert_close(found, probabilities.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("model_type", ["qwen3_moe", "deepseek_v3"])
def test_routers_that_convert_their_weights_are_observed_in_bfloat16(tmp_path: Path, model_type: str) -> None:
    folder = save_expert_model(tmp_path, model_type)
    exact = observed(folder)
    rounded = next(local_chain(folder, dtype="bfloat16").stream(RouterVisitor, [role_batch()]))
    assert rounded.scoring == exact.scoring
    for block, sums in exact.distributions.items():
        torch.testing.assert_close(rounded.distributions[block], sums, rtol=0.1, atol=0.1)


def test_shards_change_no_byte_and_routes_are_those_without_the_observer(tmp_path: Path) -> None:
    folder = save_expert_model(tmp_path)
    one, two = observed(folder), observed(folder, n_shards=2)
    for block, sums in one.distributions.items():
        assert torch.equal(sums, two.distributions[block])
        per_token: Mapping[int, Tensor] = {0: sums[..., :-1].sum(dim=-1)}
        torch.testing.assert_close(per_token[0], one.n_tokens.double())


def test_a_router_without_finite_logits_is_refused_and_its_block_named(tmp_path: Path) -> None:
    folder = save_expert_model(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.model.layers[1].mlp.gate.weight.data[0] = torch.nan
    model.save_pretrained(folder)
    with pytest.raises(StatisticsError) as raised:
        observed(folder)
    assert raised.value.context["block"] == 1


def test_scores_that_underflow_still_have_a_distribution() -> None:
    logits = torch.tensor([[-800.0, -800.0, -900.0], [1000.0, 0.0, -1000.0]])
    by_sigmoid, by_softmax = (log_distributions(logits, scoring).exp() for scoring in ("sigmoid", "softmax"))
    torch.testing.assert_close(by_sigmoid[0], torch.tensor([0.5, 0.5, 0.0]).double())
    torch.testing.assert_close(by_sigmoid[1], torch.tensor([2 / 3, 1 / 3, 0.0]).double())
    torch.testing.assert_close(by_softmax[1], torch.tensor([1.0, 0.0, 0.0]).double())


@pytest.mark.thorough("runs a model for every case")
def test_a_pretended_gpu_gives_the_same_distributions(tmp_path: Path) -> None:
    folder = save_expert_model(tmp_path)
    expected = observed(folder)
    with pretended_gpus():
        found = next(local_chain(folder).stream(RouterVisitor, [role_batch()]))
    for block, sums in expected.distributions.items():
        torch.testing.assert_close(found.distributions[block], sums, rtol=1e-5, atol=1e-7)
