"""oneDNN products: equal to the float64 product, and used only where they are suitable."""

import pytest
import torch
from torch.nn import functional

from mlprune.numeric.inference import onednn_linear as module
from mlprune.numeric.inference.onednn_linear import MIN_WEIGHTS, has_quick_products, quick_linear

IN, OUT = 512, MIN_WEIGHTS // 512


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, IN), (7, IN), (2, 5, IN), (0, IN)])
@torch.inference_mode()
def test_a_quick_product_is_the_product_in_float64(shape: tuple[int, ...], bias: bool) -> None:
    inputs, weight, added = numbers(*shape), numbers(OUT, IN, seed=1), numbers(OUT, seed=2) if bias else None
    exact = functional.linear(inputs.double(), weight.double(), None if added is None else added.double())
    result = quick_linear(inputs, weight, added)
    assert result.shape == exact.shape
    torch.testing.assert_close(result.double(), exact, rtol=1e-5, atol=1e-4)


@torch.inference_mode()
def test_rows_of_a_larger_weight_are_multiplied_as_they_lie() -> None:
    inputs, weight = numbers(3, IN), numbers(2 * OUT + 9, IN, seed=1)
    result = quick_linear(inputs, weight[9 : OUT + 9])
    torch.testing.assert_close(result, inputs @ weight[9 : OUT + 9].T, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("why", ["dtype", "small", "gradients", "missing"])
def test_unsuitable_products_have_torchs_own_bits(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype = torch.bfloat16 if why == "dtype" else torch.float32
    inputs, weight = numbers(3, IN).to(dtype), numbers(OUT - (why == "small"), IN, seed=1).to(dtype)
    if why == "missing":
        monkeypatch.setattr(module, "has_quick_products", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", None, raising=False)
    with torch.set_grad_enabled(why == "gradients"):
        assert torch.equal(quick_linear(inputs, weight), functional.linear(inputs, weight))


@pytest.mark.skipif(not has_quick_products(), reason="this build of torch has no such operation")
@torch.inference_mode()
def test_large_float32_products_are_quick_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda inputs, *_: inputs)
    inputs = numbers(3, IN)
    assert quick_linear(inputs, numbers(OUT, IN)) is inputs
