"""Llama 4: experts whose inputs are multiplied by gate weights, against the library's own mixture."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from mlprune.steps.rescore.verify import verify_variant
from tests.tiny_recipes import finished_run, small_recipe, write_texts
from tests.tiny_types import save_tiny_model_of
from tests.type_checks import check_model

pytestmark = pytest.mark.thorough("runs a model for every case")

TOKENS = torch.tensor([[5, 9, 80, 31, 77, 12, 50]])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama4") / "model"
    save_tiny_model_of(folder, "llama4_text")
    return folder


def test_results_and_masks_are_those_of_the_library_and_the_router_stays_dense(model: Path, tmp_path: Path) -> None:
    kind = check_model(model, tmp_path / "masked", atol=5e-5).block(0)
    assert kind.experts is not None
    assert kind.experts.router not in kind.layers
    assert f"{kind.experts.router}.weight" in {parameter.name for parameter in kind.dense}


def test_experts_read_inputs_that_are_multiplied_by_their_gate_weights(model: Path) -> None:
    library = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()
    expected: dict[tuple[int, str], Tensor] = defaultdict(Tensor)

    def listen(block: int, experts: Any) -> None:
        def see(module: Any, args: tuple[Tensor]) -> None:
            inputs = args[0].view(module.num_experts, -1, module.hidden_size)
            gate, up = torch.bmm(inputs, module.gate_up_proj).chunk(2, dim=-1)
            for layer, values in (("gate_up_proj", inputs), ("down_proj", up * module.act_fn(gate))):
                for expert, sums in enumerate(values.square().sum(dim=1)):
                    expected[block, f"feed_forward.experts.{expert}.{layer}"] = sums

        experts.register_forward_pre_hook(see)

    for block, layer in enumerate(library.model.layers):
        if hasattr(layer.feed_forward, "experts"):
            listen(block, layer.feed_forward.experts)
    with torch.no_grad():
        library(TOKENS)
    mask = torch.ones_like(TOKENS, dtype=torch.bool)
    observed = next(local_chain(model).stream(StatisticsVisitor, [TokenBatch(TOKENS, mask, mask)]))
    routed = {key: sums for key, sums in observed.sums.items() if ".experts." in key[1]}
    assert set(routed) == set(expected)
    for key, sums in routed.items():
        torch.testing.assert_close(sums[0].double(), expected[key], rtol=1e-4, atol=1e-6)


def test_a_variant_without_experts_equals_its_export(model: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(model)
    write_texts(tmp_path)
    entry = {"score": "frequency", "structure": "experts", "sparsity": 0.5, "demonstrations": "mt"}
    recipe = {**small_recipe(), "variants": [{"name": "v", **entry, "propagation": "dense"}], "evaluations": []}
    run = finished_run(tmp_path, recipe, name="v")
    variant = run.named("v")[0].id
    assert verify_variant(run.store, run.store.require("variants", variant), model).is_equal
    export_variant(run.store, variant, model, tmp_path / "fewer")
    numbers = [next(iter(architecture_at(folder).experts.values())).n_experts for folder in (model, tmp_path / "fewer")]
    assert numbers[1] == numbers[0] // 2
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "fewer", dtype=torch.float32).eval()
    with torch.no_grad():
        got, expected = (
            one(TOKENS, use_cache=False).logits for one in (exported, load_masked_model(run.store, variant, model))
        )
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
