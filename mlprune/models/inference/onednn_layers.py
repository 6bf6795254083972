"""Let the large linear layers of a model use the oneDNN kernel of `quick_linear`."""

from functools import partial

from torch import Tensor, nn

from mlprune.numeric.inference.onednn_linear import MIN_WEIGHTS, has_quick_products, quick_linear


def use_onednn(module: nn.Module) -> None:
    """Replace the forward of the large `Linear` layers of a module; call it before any forward runs."""
    if not has_quick_products():
        return
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.weight.numel() >= MIN_WEIGHTS:
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]


def _forward(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """Multiply with the current weight of the layer."""
    return quick_linear(inputs, layer.weight, layer.bias)
