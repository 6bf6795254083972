"""Layers with quick products: which have them, and that nothing else about a layer changes."""

import pytest
import torch
from torch import nn

from mlprune.models.inference import fast_linear
from mlprune.models.inference.fast_linear import use_quick_products
from mlprune.numeric.inference.onednn_linear import MIN_WEIGHTS

IN, OUT = 512, MIN_WEIGHTS // 512


def layer(*, n_out: int = OUT) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(IN, n_out)


def test_a_weight_changed_in_place_is_the_one_that_is_multiplied() -> None:
    quick = layer()
    use_quick_products(quick)
    with torch.inference_mode():
        quick(torch.ones(1, IN))
        quick.weight.zero_()
        assert torch.equal(quick(torch.ones(1, IN))[0], quick.bias)


def test_a_layer_multiplies_by_its_weight_and_adds_its_bias() -> None:
    quick, plain = layer(), layer()
    use_quick_products(quick)
    assert "forward" in vars(quick)
    inputs = torch.randn(2, 5, IN, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(quick(inputs), plain(inputs), rtol=1e-5, atol=1e-5)


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


def test_small_layers_and_heirs_of_linear_are_left_alone() -> None:
    class Heir(nn.Linear):
        pass

    modules = nn.ModuleList([layer(n_out=OUT - 1), Heir(IN, OUT)])
    use_quick_products(modules)
    assert all("forward" not in vars(module) for module in modules)


def test_without_the_operation_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_linear, "has_quick_products", lambda: False)
    plain = layer()
    use_quick_products(plain)
    assert "forward" not in vars(plain)
