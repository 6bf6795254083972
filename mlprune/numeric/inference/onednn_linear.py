"""Products with large float32 weights on the CPU by oneDNN, where torch's build has it.

torch multiplies float32 matrices on the CPU by MKL, which leaves the widest vector instructions of other makers'
processors unused. The same product by oneDNN, which torch ships for its compiler, is quicker there (figures in
`docs/benchmarks.md`). Other types and devices go torch's own way; so do small weights, where a call costs more than it
gains. The operation is not public: where it is missing nothing changes but the time.
"""

import torch
from torch import Tensor
from torch.nn import functional

MIN_WEIGHTS = 2**18
"""Fewer weights than these are multiplied as torch does it."""


def quick_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[..., in] -> [..., out]: inputs times the transposed weight [out, in], plus the bias [out].

    Where gradients may be asked for, torch's own product is taken.
    """
    is_float32 = weight.dtype == inputs.dtype == torch.float32
    is_large = weight.numel() >= MIN_WEIGHTS and inputs.device.type == "cpu"
    if not is_float32 or not is_large or torch.is_grad_enabled() or not has_quick_products():
        return functional.linear(inputs, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product


def has_quick_products() -> bool:
    """Whether torch has the operation."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_onednn) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
