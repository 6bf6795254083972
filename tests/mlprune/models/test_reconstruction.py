"""The outputs of a block as an objective, against float64 autograd in the model library's own code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.models.local_chain import load_shard
from mlprune.models.reconstruction import BlockOutputs, FittedOutput
from mlprune.models.shard import Shard
from mlprune.vocabulary import DtypeName
from tests.chains import worker_threads
from tests.expert_models import EXPERT_TYPES, save_expert_model
from tests.tiny_models import ALL_FAMILY_NAMES, save_tiny_model

TEXTS = ([5, 9, 200, 31, 7], [40, 41, 42], [88, 3, 5, 120, 121, 9, 10])
COEFFICIENTS = {2: 0.5, 0: 2.0}
BLOCK = 1


def prepared(path: Path, dtype: DtypeName = "float32") -> tuple[Shard, BlockOutputs]:
    """A shard with block 1 scaled down, and the outputs of that block in comparison with the dense ones."""
    shard = load_shard(path, range(2), n_blocks=2, dtype=dtype)
    runner, demonstrations = shard.runner, []
    for ids in TEXTS:
        with torch.inference_mode():
            before = runner.step(0, runner.embed(torch.tensor([ids]), None))
            after = runner.step(BLOCK, before)
        demonstrations.append(FittedOutput(before, after.hidden))
    outputs = BlockOutputs(runner, BLOCK, demonstrations)
    with torch.no_grad():
        for weight in outputs.weights().values():
            weight.mul_(0.75)
    return shard, outputs


def float64_gradients(path: Path, shard: Shard) -> dict[str, Tensor]:
    """Layer -> gradient of the weighted squared errors; experts without tokens have zeros."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # XGLM's code creates a constant in the default dtype
    try:
        dense, scaled = (AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval() for _ in range(2))
        kind = shard.architecture().block(BLOCK)
        blocks = [model.get_submodule(shard.architecture().blocks)[BLOCK] for model in (dense, scaled)]
        layers = {layer: blocks[1].get_submodule(layer).weight for layer in kind.layers}
        for weight in layers.values():
            weight.data.mul_(0.75)
        loss = torch.tensor(0.0)
        for number, factor in COEFFICIENTS.items():
            states = [
                after_block(model, block, TEXTS[number]) for model, block in zip((dense, scaled), blocks, strict=True)
            ]
            loss = loss + factor * (states[0].detach() - states[1]).square().sum()
        loss.backward()
        return {layer: weight.grad.T if kind.transposed else weight.grad for layer, weight in layers.items()}
    finally:
        torch.set_default_dtype(before)


def after_block(model: Any, block: Any, ids: list[int]) -> Tensor:
    found: list[Tensor] = []

    def keep(_module: Any, _args: Any, result: Any) -> None:
        found.append(result if isinstance(result, Tensor) else result[0])

    hook = block.register_forward_hook(keep)
    model(torch.tensor([ids]))
    hook.remove()
    return found[0]


@pytest.mark.parametrize("family", ALL_FAMILY_NAMES)
def test_gradients_are_those_of_float64_autograd(tmp_path: Path, family: str) -> None:
    path = save_tiny_model(tmp_path, family, blocks=2)
    shard, outputs = prepared(path)
    expected = float64_gradients(path, shard)
    found = outputs.gradients(outputs.weights(), COEFFICIENTS)
    assert list(found) == list(expected)
    for layer, gradient in found.items():
        scale = float(expected[layer].abs().max())
        torch.testing.assert_close(gradient.double(), expected[layer], rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("family", ["xglm", "gpt2", "llama"])
def test_a_step_against_the_gradient_lowers_the_error(tmp_path: Path, family: str) -> None:
    _, outputs = prepared(save_tiny_model(tmp_path, family, blocks=2))
    weights = {layer: weight.clone() for layer, weight in outputs.weights().items()}
    before = outputs.errors({})
    gradients = outputs.gradients(weights, dict.fromkeys(range(len(TEXTS)), 1.0))
    squares = sum(float(gradient.double().square().sum()) for gradient in gradients.values())
    rate = 1e-3 * sum(before) / squares
    stepped = {layer: weight - rate * gradients[layer] for layer, weight in weights.items()}
    assert sum(outputs.errors(stepped)) == pytest.approx(sum(before) * 0.999, rel=2e-4)


@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_experts_without_tokens_have_gradients_of_zero(tmp_path: Path, model_type: str) -> None:
    _, outputs = prepared(save_expert_model(tmp_path, model_type))
    gradients = outputs.gradients(outputs.weights(), {1: 1.0})
    assert list(gradients) == list(outputs.weights())
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())
    assert sum(bool(gradient.any()) for gradient in gradients.values()) >= 4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_block_is_left_as_it_was_and_errors_are_those_of_its_dtype(tmp_path: Path, dtype: DtypeName) -> None:
    path = save_tiny_model(tmp_path, "llama", blocks=2)
    shard, outputs = prepared(path, dtype)
    module = shard.runner.modules[BLOCK]
    before = {name: (id(tensor), tensor.clone()) for name, tensor in module.state_dict(keep_vars=True).items()}
    masters = {layer: weight.float() for layer, weight in outputs.weights().items()}
    gradients = outputs.gradients(masters, COEFFICIENTS)
    assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}
    halved = {layer: weight / 2 for layer, weight in outputs.weights().items()}
    errors = outputs.errors(halved)
    after = module.state_dict(keep_vars=True)
    assert all(
        id(after[name]) == number and torch.equal(after[name], value) for name, (number, value) in before.items()
    )
    with torch.no_grad():
        for layer, weight in outputs.weights().items():
            weight.copy_(halved[layer])
    assert outputs.errors({}) == errors


def test_threads_change_no_bit(tmp_path: Path) -> None:
    path = save_tiny_model(tmp_path, "llama", blocks=2)
    _, outputs = prepared(path)
    results = []
    for n_threads in (1, 3):
        with worker_threads(n_threads):
            results.append((outputs.errors({}), outputs.gradients(outputs.weights(), COEFFICIENTS)))
    (errors, gradients), (others, other_gradients) = results
    assert errors == others
    assert all(torch.equal(gradient, other_gradients[layer]) for layer, gradient in gradients.items())


def test_large_layers_have_the_gradients_of_torchs_own_products(tmp_path: Path, monkeypatch: Any) -> None:
    path = save_tiny_model(tmp_path, "llama", blocks=2, hidden=64)
    _, outputs = prepared(path)
    own = outputs.gradients(outputs.weights(), COEFFICIENTS)
    for module in ("mlprune.models.reconstruction", "mlprune.numeric.log_probs"):
        monkeypatch.setattr(f"{module}.MIN_WEIGHTS", 1)
    quick = outputs.gradients(outputs.weights(), COEFFICIENTS)
    for layer, gradient in own.items():
        torch.testing.assert_close(quick[layer], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))
