"""Matrix products of large linear layers on the CPU by oneDNN, where torch's build has it.

torch multiplies float32 matrices on the CPU by MKL, which leaves the widest vector instructions of other makers'
processors unused. The same product by oneDNN, which torch ships for its compiler, is quicker there (figures in
`docs/benchmarks.md`). Other types and devices go torch's own way; so do small layers, where a call costs more than it
gains. The operation is not public: where it is missing nothing changes but the time.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

MIN_WEIGHTS = 2**18
"""Layers with fewer weights are left alone."""


def use_quick_products(module: nn.Module) -> None:
    """Let the large `Linear` layers of a module multiply float32 on the CPU by oneDNN; call it before any forward."""
    if not _is_there():
        return
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.weight.numel() >= MIN_WEIGHTS:
            layer.forward = partial(_product, layer)  # type: ignore[method-assign]


def _is_there() -> bool:
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_onednn) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """[..., in] -> [..., out]: inputs times the transposed weight, plus the bias."""
    weight, bias = layer.weight, layer.bias
    plain = inputs.device.type != "cpu" or weight.dtype != torch.float32 or inputs.dtype != torch.float32
    if plain or torch.is_grad_enabled():
        return functional.linear(inputs, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product
