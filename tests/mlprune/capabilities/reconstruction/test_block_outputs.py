"""The outputs of a block as an objective, against float64 autograd in the model library's own code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from mlprune.capabilities.reconstruction.block_outputs import BlockOutputs
from mlprune.capabilities.reconstruction.fit import reconstruct
from mlprune.capabilities.reconstruction.fit_settings import Reconstruction
from mlprune.models.experts import is_stack, stack_names
from mlprune.models.local_chain import load_shard
from mlprune.models.messages import FittedOutput
from mlprune.models.shard import Shard
from mlprune.vocabulary import DtypeName
from tests.chains import worker_threads
from tests.expert_models import EXPERT_TYPES, N_EXPERTS, save_expert_model
from tests.tiny_models import ALL_FAMILY_NAMES, save_tiny_model

TEXTS = ([5, 9, 200, 31, 7], [40, 41, 42], [88, 3, 5, 120, 121, 9, 10])
COEFFICIENTS = {2: 0.5, 0: 2.0}
BLOCK = 1
WITHOUT_BIASES = ("mistral", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo2", "smollm3", "phi3")


def parameters(outputs: BlockOutputs) -> dict[str, Tensor]:
    """All that can be fitted."""
    return {**outputs.weights(), **outputs.biases()}


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
        for parameter in parameters(outputs).values():
            parameter.mul_(0.75)
    return shard, outputs


def float64_gradients(path: Path, shard: Shard, fitted: Callable[[str], bool], **options: Any) -> dict[str, Tensor]:
    """Parameter of the library's block -> gradient of the weighted squared errors.

    Args:
        fitted: whether a parameter is scaled down and has a gradient.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # XGLM's code creates a constant in the default dtype
    try:
        options = {"dtype": torch.float64, **options}
        dense, scaled = (AutoModelForCausalLM.from_pretrained(path, **options).eval() for _ in range(2))
        blocks = [model.get_submodule(shard.architecture().blocks)[BLOCK] for model in (dense, scaled)]
        parameters = {name: parameter for name, parameter in blocks[1].named_parameters() if fitted(name)}
        for parameter in parameters.values():
            parameter.data.mul_(0.75)
        loss = torch.tensor(0.0)
        for number, factor in COEFFICIENTS.items():
            states = [
                after_block(model, block, TEXTS[number]) for model, block in zip((dense, scaled), blocks, strict=True)
            ]
            loss = loss + factor * (states[0].detach() - states[1]).square().sum()
        loss.backward()
        transposed = shard.architecture().block(BLOCK).transposed
        gradients = {name: parameter.grad for name, parameter in parameters.items()}
        return {name: one.T if transposed and one.dim() == 2 else one for name, one in gradients.items()}
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


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("family", ALL_FAMILY_NAMES)
def test_gradients_are_those_of_float64_autograd(tmp_path: Path, family: str) -> None:
    path = save_tiny_model(tmp_path, family, blocks=2)
    shard, outputs = prepared(path)
    layers = shard.architecture().block(BLOCK).layers
    expected = float64_gradients(path, shard, lambda name: name.rpartition(".")[0] in layers)
    found = outputs.gradients(parameters(outputs), COEFFICIENTS)
    assert sorted(found) == sorted(expected)
    assert bool(outputs.biases()) == (family not in WITHOUT_BIASES)
    for name, gradient in found.items():
        scale = float(expected[f"{name.rpartition('.')[0]}.weight"].abs().max())  # that of a key's bias can be 0
        torch.testing.assert_close(gradient.double(), expected[name], rtol=1e-3, atol=1e-4 * scale)


def test_gradients_of_the_biases_of_experts_are_those_of_float64_autograd(tmp_path: Path) -> None:
    path = save_expert_model(tmp_path, "gpt_oss")
    shard, outputs = prepared(path)
    expected = float64_gradients(path, shard, lambda name: "_proj" in name, experts_implementation="eager")
    found = outputs.gradients(parameters(outputs), COEFFICIENTS)
    names = [name for name in outputs.biases() if ".experts." in name]
    assert len(names) == 2 * N_EXPERTS
    for name in names:
        path_of_experts, number, layer = name.removesuffix(".bias").rsplit(".", 2)
        gradients = expected[f"{path_of_experts}.{layer}_bias"]
        scale = float(gradients.abs().max())
        torch.testing.assert_close(found[name].double(), gradients[int(number)], rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("family", ["xglm", "gpt2", "llama"])
def test_a_step_against_the_gradient_lowers_the_error(tmp_path: Path, family: str) -> None:
    _, outputs = prepared(save_tiny_model(tmp_path, family, blocks=2))
    weights = {name: weight.clone() for name, weight in parameters(outputs).items()}
    before = outputs.errors({})
    gradients = outputs.gradients(weights, dict.fromkeys(range(len(TEXTS)), 1.0))
    squares = sum(float(gradient.double().square().sum()) for gradient in gradients.values())
    rate = 1e-3 * sum(before) / squares
    stepped = {name: weight - rate * gradients[name] for name, weight in weights.items()}
    assert sum(outputs.errors(stepped)) == pytest.approx(sum(before) * 0.999, rel=2e-4)


@pytest.mark.parametrize("family", ["xglm", "gpt2"])
def test_a_reconstruction_lowers_the_error_and_removed_weights_stay_zero(tmp_path: Path, family: str) -> None:
    _, outputs = prepared(save_tiny_model(tmp_path, family, blocks=2))
    keeps = {
        name: (torch.arange(one.numel()) % 3 > 0).view(one.shape)
        if name in outputs.weights()
        else torch.ones(one.shape).bool()
        for name, one in parameters(outputs).items()
    }
    with torch.no_grad():
        for name, parameter in parameters(outputs).items():
            parameter.mul_(keeps[name])
    settings = Reconstruction(20, 1.5, batch=2)
    result = reconstruct(parameters(outputs), keeps, outputs, [1.0] * len(TEXTS), settings)
    assert sum(result.after) < 0.8 * sum(result.before)
    assert not any(bool(one[~keeps[name]].any()) for name, one in result.weights.items())


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_experts_without_tokens_have_gradients_of_zero(tmp_path: Path, model_type: str) -> None:
    _, outputs = prepared(save_expert_model(tmp_path, model_type))
    gradients = outputs.gradients(parameters(outputs), {1: 1.0})
    assert list(gradients) == list(parameters(outputs))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())
    assert sum(bool(gradient.any()) for gradient in gradients.values()) >= 4


def test_errors_of_experts_in_one_product_are_those_of_the_given_weights(tmp_path: Path) -> None:
    """On some accelerators the weights of experts are slices of one tensor, which products read as a whole."""
    shard, outputs = prepared(save_expert_model(tmp_path))
    experts: Any = next(module for module in shard.runner.modules[BLOCK].modules() if is_stack(module))
    with torch.no_grad():
        for layer in stack_names(experts):
            layers = [experts.get_submodule(f"{number}.{layer}") for number in range(N_EXPERTS)]
            experts.stacks[layer] = torch.stack([one.weight for one in layers])
            for one, weight in zip(layers, experts.stacks[layer], strict=True):
                one.weight = nn.Parameter(weight, requires_grad=False)
        halved = {name: weight / 2 for name, weight in outputs.weights().items() if ".experts." in name}
        before, found = outputs.errors({}), outputs.errors(halved)
        for name, weight in halved.items():
            outputs.weights()[name].copy_(weight)
    assert found == outputs.errors({})
    assert all(one != other for one, other in zip(before, found, strict=True))


@pytest.mark.parametrize(("family", "dtype"), [("llama", "float32"), ("gpt2", "bfloat16"), ("llama", "float16")])
def test_the_block_is_left_as_it_was_and_errors_are_those_of_its_dtype(
    tmp_path: Path, family: str, dtype: DtypeName
) -> None:
    path = save_tiny_model(tmp_path, family, blocks=2)
    shard, outputs = prepared(path, dtype)
    module = shard.runner.modules[BLOCK]
    before = {name: (id(tensor), tensor.clone()) for name, tensor in module.state_dict(keep_vars=True).items()}
    masters = {name: weight.float() for name, weight in parameters(outputs).items()}
    gradients = outputs.gradients(masters, COEFFICIENTS)
    assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}
    halved = {name: weight / 2 for name, weight in parameters(outputs).items()}
    errors = outputs.errors(halved)
    after = module.state_dict(keep_vars=True)
    assert all(
        id(after[name]) == number and torch.equal(after[name], value) for name, (number, value) in before.items()
    )
    with torch.no_grad():
        for name, weight in parameters(outputs).items():
            weight.copy_(halved[name])
    assert outputs.errors({}) == errors


def test_threads_change_no_bit(tmp_path: Path) -> None:
    path = save_tiny_model(tmp_path, "llama", blocks=2)
    _, outputs = prepared(path)
    results = []
    for n_threads in (1, 3):
        with worker_threads(n_threads):
            results.append((outputs.errors({}), outputs.gradients(parameters(outputs), COEFFICIENTS)))
    (errors, gradients), (others, other_gradients) = results
    assert errors == others
    assert all(torch.equal(gradient, other_gradients[name]) for name, gradient in gradients.items())


def test_large_layers_have_the_gradients_of_torchs_own_products(tmp_path: Path, monkeypatch: Any) -> None:
    path = save_tiny_model(tmp_path, "llama", blocks=2, hidden=64)
    _, outputs = prepared(path)
    own = outputs.gradients(parameters(outputs), COEFFICIENTS)
    for module in ("mlprune.capabilities.reconstruction.block_outputs", "mlprune.numeric.log_probs"):
        monkeypatch.setattr(f"{module}.MIN_WEIGHTS", 1)
    quick = outputs.gradients(parameters(outputs), COEFFICIENTS)
    for name, gradient in own.items():
        scale = float(own[f"{name.rpartition('.')[0]}.weight"].abs().max())
        torch.testing.assert_close(quick[name], gradient, rtol=1e-4, atol=1e-5 * scale)
