"""Products with large float32 weights on the CPU by oneDNN, if torch's build has it.

torch multiplies float32 matrices on the CPU with MKL, which does not use the widest vector instructions of processors
of other makers. oneDNN, which torch ships for its compiler, is faster there (figures in `docs/benchmarks.md`). Other
dtypes, other devices and small weights use torch's own product. The oneDNN operation is not public; without it, results
are the same and only slower.
"""

import torch
from torch import Tensor
from torch.nn import functional

MIN_WEIGHTS = 2**18
"""Smallest number of weights that oneDNN multiplies; the call costs more than it saves below it."""


def quick_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return inputs [..., in] times the transposed weight [out, in], plus the bias [out]: [..., out].

    Uses torch's own product if gradients may be needed.
    """
    is_float32 = weight.dtype == inputs.dtype == torch.float32
    is_large = weight.numel() >= MIN_WEIGHTS and inputs.device.type == "cpu"
    if not is_float32 or not is_large or torch.is_grad_enabled() or not has_quick_products():
        return functional.linear(inputs, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product


def has_quick_products() -> bool:
    """Return whether torch has the operation."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_onednn) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
