"""Random layers, and checks that every reconstruction has to pass."""

from typing import Protocol

import pytest
import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.numeric.weights.sparsegpt import Reconstruction
from tests.drawn import drawn


class Reconstruct(Protocol):
    """A function that chooses the mask and the weights of a layer."""

    def __call__(
        self, weight: Tensor, products: Tensor, *, sparsity: float, damping: float = 0.01
    ) -> Reconstruction: ...


def check_damping_of_an_indefinite_hessian(reconstruct: Reconstruct) -> None:
    products = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)  # eigenvalues 3 and -1, mean diagonal 1
    result = reconstruct(drawn(3, 2), products, sparsity=0.5, damping=0.02)
    assert result.n_dampings == 2
    assert int((~result.keep).sum()) == 3


def check_error_of_a_hessian_that_no_damping_helps(reconstruct: Reconstruct) -> None:
    products = torch.tensor([[1.0, 1e30], [1e30, 1.0]], dtype=torch.float64)
    with pytest.raises(StatisticsError, match="not positive definite"):
        reconstruct(drawn(3, 2), products, sparsity=0.5)


def check_arguments_are_left_as_they_were(reconstruct: Reconstruct, inputs: Tensor, dtype: torch.dtype) -> None:
    """Reconstruct a layer of this dtype over eight inputs, [tokens, 8] float64."""
    weight, products = torch.nn.Parameter(drawn(8, 6).to(dtype).t()), inputs.t() @ inputs
    before = weight.detach().clone(), products.clone()
    result = reconstruct(weight, products, sparsity=0.5)
    assert torch.equal(weight, before[0])
    assert torch.equal(products, before[1])
    assert not result.weight.requires_grad
    assert result.weight.is_contiguous()
    assert result.keep.is_contiguous()
