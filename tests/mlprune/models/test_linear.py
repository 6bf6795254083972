"""Quick products: equal to torch's own where they are used, and not used where they do not belong."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mlprune.models import linear
from mlprune.models.linear import MIN_WEIGHTS, use_quick_products

IN, OUT = 512, MIN_WEIGHTS // 512


def layer(*, n_in: int = IN, n_out: int = OUT, bias: bool = True, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(n_in, n_out, bias=bias).to(dtype)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, IN), (7, IN), (2, 5, IN), (0, IN)])
def test_a_quick_product_is_the_product_in_float64(shape: tuple[int, ...], bias: bool) -> None:
    quick = layer(bias=bias)
    use_quick_products(quick)
    assert "forward" in vars(quick)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        got = quick(inputs)
    exact = functional.linear(inputs.double(), quick.weight.double(), quick.bias.double() if bias else None)
    assert got.shape == exact.shape
    torch.testing.assert_close(got.double(), exact, rtol=1e-5, atol=1e-5)


def test_a_weight_changed_in_place_is_the_one_that_is_multiplied() -> None:
    quick = layer()
    use_quick_products(quick)
    with torch.inference_mode():
        quick(torch.ones(1, IN))
        quick.weight.zero_()
        assert torch.equal(quick(torch.ones(1, IN))[0], quick.bias)


def test_hooks_of_a_layer_are_still_called() -> None:
    quick = layer()
    use_quick_products(quick)
    seen: list[torch.Size] = []
    quick.register_forward_pre_hook(lambda _module, args: seen.append(args[0].shape))
    with torch.inference_mode():
        quick(torch.ones(3, IN))
    assert seen == [torch.Size((3, IN))]


def test_gradients_flow_as_torch_has_them() -> None:
    quick = layer()
    use_quick_products(quick)
    quick(torch.ones(1, IN)).sum().backward()
    assert quick.weight.grad is not None
    assert torch.equal(quick.weight.grad, torch.ones(OUT, IN))


def test_another_dtype_gives_torchs_own_bits() -> None:
    quick = layer(dtype=torch.bfloat16)
    use_quick_products(quick)
    inputs = torch.ones(2, IN, dtype=torch.bfloat16)
    with torch.inference_mode():
        assert torch.equal(quick(inputs), functional.linear(inputs, quick.weight, quick.bias))


def test_small_layers_and_heirs_of_linear_are_left_alone() -> None:
    class Heir(nn.Linear):
        pass

    modules = nn.ModuleList([layer(n_out=OUT - 1), Heir(IN, OUT)])
    use_quick_products(modules)
    assert all("forward" not in vars(module) for module in modules)


def test_without_the_operation_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_is_there", lambda: False)
    plain = layer()
    use_quick_products(plain)
    assert "forward" not in vars(plain)
