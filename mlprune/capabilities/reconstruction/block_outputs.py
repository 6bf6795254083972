"""The outputs of one block as an objective of its weights and biases: errors and gradients by demonstration.

A demonstration is a batch of its own, so nothing is padded and a step can read any of them. Gradients are computed in
float32 whatever the dtype of the model: the block runs with float32 copies of its parameters, buffers and inputs.
Errors are those of the block as it runs in every other pass, in the dtype of the model, one expert after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mlprune.models.architecture.architecture import oriented
from mlprune.models.experts import one_by_one
from mlprune.models.gradients import RecordedLayers
from mlprune.models.messages import FittedOutput, HiddenStates
from mlprune.numeric.activations.feature_sums import Flow
from mlprune.numeric.log_probs import MIN_WEIGHTS, has_quick_products, quick_linear
from mlprune.processes.parallel import parallel_map

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner

Weights = Mapping[str, Tensor]
"""Parameter of the block, such as `fc1.weight` or `fc1.bias` -> [out, in], or [out] of a bias."""


class BlockOutputs:
    """Squared errors of the outputs of a block; see `mlprune.capabilities.reconstruction.fit.Objective`.

    No other pass may run the block meanwhile.

    Args:
        runner: runs the block, which is in memory.
        demonstrations: one per batch, on the device of the block.
    """

    def __init__(self, runner: BlockRunner, block: int, demonstrations: Sequence[FittedOutput]) -> None:
        self._runner = runner
        self._block = block
        self._module = runner.modules[block]
        self._architecture = runner.architecture.block(block)
        self._demonstrations = demonstrations

    def weights(self) -> dict[str, Tensor]:
        """Return the current weights of the layers in the dtype of the model; views, to be read only."""
        return {name: oriented(weight, self._architecture) for name, weight in self._current("weight").items()}

    def biases(self) -> dict[str, Tensor]:
        """Return the current biases of the layers that have one, those of experts included; else as `weights`."""
        return self._current("bias")

    def _current(self, leaf: str) -> dict[str, Tensor]:
        of_layers = {layer: self._module.get_submodule(layer)._parameters for layer in self._architecture.layers}
        found = {f"{layer}.{leaf}": parameters.get(leaf) for layer, parameters in of_layers.items()}
        return {name: parameter.detach() for name, parameter in found.items() if parameter is not None}

    def target_squares(self) -> list[float]:
        """Return the sum of the squared targets of each demonstration."""
        return _values(one.target.double().square().sum() for one in self._demonstrations)

    def errors(self, weights: Weights) -> list[float]:
        """Return the squared error of each demonstration, summed in float64.

        Args:
            weights: some parameters, in the dtype of the model; the others have their current values.
        """

        @torch.inference_mode()
        def error(demonstration: FittedOutput) -> Tensor:
            with one_by_one():  # products of all experts read their current weights
                after = self._runner.step(self._block, demonstration.states).hidden
            return (after.double() - demonstration.target.double()).square().sum()

        with _replaced(self._module, self._stored(weights)):
            return _values(parallel_map(error, self._demonstrations))

    def gradients(self, weights: Weights, coefficients: Mapping[int, float]) -> dict[str, Tensor]:
        """Return the gradients of a sum of squared errors by some parameters.

        As many demonstrations run at a time as the process has threads. Each gives the gradients of the outputs of the
        layers; the gradient of a weight is one product with the layer's inputs over the tokens of all demonstrations,
        in the order of `coefficients`, and that of a bias their sum over these tokens. The result does not depend on
        the number of threads.

        Args:
            weights: float32.
            coefficients: demonstration -> factor of its squared error.
        """
        self._runner.hooks.observe_outputs()
        with torch.inference_mode(False):
            changed = {**_in_float32(self._module), **self._stored(weights)}
            with _replaced(self._module, changed), _quick_layers(self._module, self._architecture.layers):
                flows = list(parallel_map(lambda number: self._flows(number, coefficients[number]), coefficients))

        @torch.no_grad()
        def gradient(name: str) -> Tensor:
            layer, _, leaf = name.rpartition(".")
            pairs = [of_one[layer] for of_one in flows if layer in of_one]
            if not pairs:  # an expert without tokens
                return torch.zeros_like(weights[name])
            outputs = torch.cat([of_outputs for of_outputs, _ in pairs])
            if leaf == "bias":
                return outputs.sum(dim=0)
            inputs = torch.cat([of_inputs for _, of_inputs in pairs])
            return quick_linear(outputs.T.contiguous(), inputs.T.contiguous())

        return dict(zip(weights, parallel_map(gradient, weights), strict=True))

    def _flows(self, number: int, coefficient: float) -> dict[str, Flow]:
        """Return layer -> gradients of its outputs by the squared error of a demonstration, and its inputs."""
        demonstration, recorded = self._demonstrations[number], RecordedLayers()
        with torch.inference_mode(False), torch.enable_grad():  # modes of a thread
            call = demonstration.states.calls[self._block].replace_instances(Tensor, _as_float32)
            hidden = _as_float32(demonstration.states.hidden).requires_grad_()
            with self._runner.hooks.listening(recorded.take_input, outputs=recorded.take_output):
                after = self._runner.step(self._block, HiddenStates(hidden, {self._block: call})).hidden
            loss = (after - _as_float32(demonstration.target)).square().sum() * coefficient
            layers = [layer for layer in self._architecture.layers if layer in recorded.outputs]
            found = torch.autograd.grad(loss, [recorded.outputs[layer] for layer in layers])
        return {
            layer: (of_outputs.flatten(0, -2), recorded.inputs[self._architecture.input_of(layer)].flatten(0, -2))
            for layer, of_outputs in zip(layers, found, strict=True)
        }

    def _stored(self, weights: Weights) -> dict[str, Tensor]:
        """Return the parameters as the module stores them."""
        kind = self._architecture
        return {name: weight if weight.dim() == 1 else oriented(weight, kind) for name, weight in weights.items()}


class _QuickProduct(torch.autograd.Function):
    """A product with a weight that needs no gradient itself, by `quick_linear` in both directions."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, transposed: Tensor, bias: Tensor | None) -> Tensor:
        """Return inputs [..., in] times the transposed weight [out, in], plus the bias [out]."""
        ctx.save_for_backward(transposed)
        return quick_linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the inputs from that of the outputs [..., out]."""
        (transposed,) = ctx.saved_tensors
        return quick_linear(gradients[0], transposed), None, None, None


@contextmanager
def _quick_layers(module: nn.Module, layers: Iterable[str]) -> Iterator[None]:
    """Let the large linear layers on a CPU run with quick products while the context lasts; see `quick_linear`."""
    large: list[Any] = [layer for layer in map(module.get_submodule, layers) if _is_large(layer)]
    before = [vars(layer).get("forward") for layer in large]
    for layer in large:
        vars(layer)["forward"] = partial(_quick_forward, layer, layer.weight.T.contiguous())
    try:
        yield
    finally:
        for layer, forward in zip(large, before, strict=True):
            vars(layer).pop("forward")
            vars(layer).update({} if forward is None else {"forward": forward})


def _is_large(layer: Any) -> bool:
    is_linear = type(layer) is nn.Linear and layer.weight.device.type == "cpu"
    return is_linear and layer.weight.numel() >= MIN_WEIGHTS and has_quick_products()


def _quick_forward(layer: Any, transposed: Tensor, inputs: Tensor) -> Tensor:
    multiply: Callable[..., Tensor] = _QuickProduct.apply  # untyped in some versions of torch
    return multiply(inputs, layer.weight, transposed, layer.bias)


def _values(sums: Iterable[Tensor]) -> list[float]:
    """Return numbers that are on a device, which waits once."""
    values: list[float] = torch.stack(list(sums)).tolist()
    return values


def _as_float32(tensor: Tensor) -> Tensor:
    """Return a copy that can be part of a graph; a copy of other than floating numbers keeps its dtype."""
    return tensor.to(torch.float32, copy=True) if tensor.is_floating_point() else tensor.clone()


def _in_float32(module: nn.Module) -> dict[str, Tensor]:
    """Return name -> float32 copy of the parameters and buffers of another float dtype."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    lower = {name: tensor for name, tensor in tensors if tensor.is_floating_point() and tensor.dtype != torch.float32}
    return {name: tensor.detach().to(torch.float32) for name, tensor in lower.items()}


@contextmanager
def _replaced(module: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Replace parameters and buffers of a module while the context lasts."""
    places: list[tuple[dict[str, Any], str]] = []
    for name in tensors:
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        places.append((owner._parameters if leaf in owner._parameters else owner._buffers, leaf))
    before = [place[leaf] for place, leaf in places]
    try:
        for (place, leaf), tensor in zip(places, tensors.values(), strict=True):
            place[leaf] = tensor
        yield
    finally:
        for (place, leaf), tensor in zip(places, before, strict=True):
            place[leaf] = tensor
