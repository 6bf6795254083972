"""Linear layers of a model that multiply by oneDNN where that is quicker (`numeric/quick_linear.py`)."""

from functools import partial

from torch import Tensor, nn

from mlprune.numeric.inference.onednn_linear import MIN_WEIGHTS, has_quick_products, quick_linear


def use_quick_products(module: nn.Module) -> None:
    """Let the large `Linear` layers of a module multiply float32 on the CPU by oneDNN; call it before any forward."""
    if not has_quick_products():
        return
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.weight.numel() >= MIN_WEIGHTS:
            layer.forward = partial(_product, layer)  # type: ignore[method-assign]


def _product(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """The product with the weight as it is now."""
    return quick_linear(inputs, layer.weight, layer.bias)
