"""Scores of plug-ins are checked: a bad plug-in is named together with the block and the layer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import OutOfMemoryError, PluginError
from mlprune.methods import Parameters, parameter
from mlprune.methods.plugins import PluginParameters, PluginSource, ScorePlugin
from mlprune.numeric.weights.layer_inputs import FeatureMoments, LayerInputs
from mlprune.pruning.plugin_calls.scores import plugin_scores

SOURCE = PluginSource("0" * 64, "bad-scores", "0.1")
SHAPE = (4, 6)


@dataclass(frozen=True)
class Power(Parameters):
    """Parameters of the scores below."""

    power: float = parameter(2.0, "exponent")


def layer() -> LayerInputs:
    generator = torch.Generator().manual_seed(0)
    moments = FeatureMoments(2.0, 8.0, *(torch.rand(6, generator=generator, dtype=torch.float64) for _ in range(3)))
    return LayerInputs(
        torch.randn(SHAPE, generator=generator),
        torch.rand(6, generator=generator),
        block=3,
        layer="fc1",
        moments=moments,
        products=torch.eye(6, dtype=torch.float64),
    )


def scores(function: Callable[..., Any], *, repeats: bool = True, **values: float) -> Tensor:
    plugin = ScorePlugin("for a test", name="planted", parameters=Power, function=function)
    parameters = PluginParameters.from_values(values)
    return plugin_scores(plugin, layer(), parameters, source=SOURCE, repeats=repeats)


def good(inputs: LayerInputs, parameters: Power) -> Tensor:
    return inputs.weight.abs() ** parameters.power * inputs.norms


@pytest.mark.parametrize("repeats", [False, True])
def test_a_good_plugin_gets_the_inputs_and_its_parameters(repeats: bool) -> None:
    inputs = layer()
    assert torch.equal(scores(good, repeats=repeats), inputs.weight.abs() ** 2.0 * inputs.norms)
    assert torch.equal(scores(good, repeats=repeats, power=3.0), inputs.weight.abs() ** 3.0 * inputs.norms)


def _raises(inputs: LayerInputs, _: Power) -> Tensor:
    raise RuntimeError("two\nlines")


def _reads_gradients(inputs: LayerInputs, _: Power) -> Tensor:
    assert inputs.gradients is not None, "gradients were not declared"
    return inputs.gradients


def _with(value: float) -> Callable[..., Tensor]:
    def one_wrong(inputs: LayerInputs, parameters: Power) -> Tensor:
        values = good(inputs, parameters)
        values[1, 2] = value
        return values

    return one_wrong


def _changes(name: str, *, by_numpy: bool = False) -> Callable[..., Tensor]:
    def changing(inputs: LayerInputs, parameters: Power) -> Tensor:
        values = good(inputs, parameters)
        tensor = inputs.moments.sums if name == "sums" and inputs.moments else getattr(inputs, name)
        if by_numpy:
            tensor.numpy()[0] += 1
        else:
            tensor[0] += 1
        return values

    return changing


def _counting() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


NUMBERS = _counting()
BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "raises": (_raises, "two lines"),
    "exits the loop": (lambda inputs, _: next(iter(())), "StopIteration"),
    "reads statistics that it does not declare": (_reads_gradients, "not declared"),
    "returns None": (lambda inputs, _: None, "no tensor"),
    "returns an array": (lambda inputs, _: inputs.weight.abs().numpy(), "no tensor"),
    "returns float64": (lambda inputs, _: inputs.weight.abs().double(), "dtype"),
    "returns integers": (lambda inputs, _: inputs.weight.abs().int(), "dtype"),
    "returns the transpose": (lambda inputs, parameters: good(inputs, parameters).T, "shape"),
    "returns one score per row": (lambda inputs, _: inputs.weight.abs().sum(1), "shape"),
    "returns another device": (lambda inputs, _: torch.empty(SHAPE, device="meta"), "device"),
    "returns NaN": (_with(float("nan")), "1 not finite, 0 negative"),
    "returns infinity": (_with(float("inf")), "1 not finite, 0 negative"),
    "returns a negative score": (_with(-1e-9), "0 not finite, 1 negative"),
    "changes the weight": (_changes("weight"), "changes its arguments"),
    "changes the norms": (_changes("factors"), "changes its arguments"),
    "changes the Gram matrix by NumPy": (_changes("products", by_numpy=True), "changes its arguments"),
    "changes the sums by NumPy": (_changes("sums", by_numpy=True), "changes its arguments"),
    "draws random numbers": (lambda inputs, _: torch.rand(SHAPE), "another result"),
    "counts its calls": (lambda inputs, _: inputs.weight.abs() + next(NUMBERS), "another result"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_plugin_is_refused_in_one_line_with_block_and_layer(name: str) -> None:
    function, expected = BAD[name]
    with pytest.raises(PluginError, match=expected) as raised:
        scores(function)
    assert "\n" not in str(raised.value)
    where = {"score": "planted", "source": "bad-scores 0.1", "block": 3, "layer": "fc1"}
    assert {key: raised.value.context[key] for key in where} == where


def test_a_change_by_torch_is_noticed_in_every_call() -> None:
    with pytest.raises(PluginError, match="changes its arguments"):
        scores(_changes("weight"), repeats=False)


def test_a_view_of_an_input_does_not_change_it_later() -> None:
    inputs = replace(layer(), weight=layer().weight.abs())
    plugin = ScorePlugin("the weight itself", name="planted", function=lambda inputs, _: inputs.weight)
    returned = plugin_scores(plugin, inputs, PluginParameters(), source=SOURCE, repeats=True)
    assert torch.equal(returned, inputs.weight)


def test_memory_that_runs_out_is_not_the_plugin_s_fault() -> None:
    def allocates(inputs: LayerInputs, _: Power) -> Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

    with pytest.raises(OutOfMemoryError):
        scores(allocates)


def raises(error: Exception) -> Callable[[LayerInputs, Power], Tensor]:
    def function(inputs: LayerInputs, _: Power) -> Tensor:
        raise error

    return function


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_memory_that_libraries_cannot_get_is_not_the_plugin_s_fault(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError):
        scores(raises(error))


def test_an_accelerator_that_stops_working_is_not_the_plugin_s_fault() -> None:
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        scores(raises(error))
