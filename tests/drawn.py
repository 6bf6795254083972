"""Random tensors."""

import torch
from torch import Tensor


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Return normally distributed numbers, the same for the same shape and seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
