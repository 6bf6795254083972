"""Large linear layers use the oneDNN kernel, and nothing else about them changes."""

import pytest
import torch
from torch import nn

from mlprune.models.inference import onednn_layers
from mlprune.models.inference.onednn_layers import use_onednn
from mlprune.numeric.inference.onednn_linear import MIN_WEIGHTS

IN, OUT = 512, MIN_WEIGHTS // 512


def layer(*, n_out: int = OUT) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(IN, n_out)


def test_a_weight_changed_in_place_takes_effect() -> None:
    quick = layer()
    use_onednn(quick)
    with torch.inference_mode():
        quick(torch.ones(1, IN))
        quick.weight.zero_()
        assert torch.equal(quick(torch.ones(1, IN))[0], quick.bias)


def test_a_layer_multiplies_by_its_weight_and_adds_its_bias() -> None:
    quick, plain = layer(), layer()
    use_onednn(quick)
    assert "forward" in vars(quick)
    inputs = torch.randn(2, 5, IN, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(quick(inputs), plain(inputs), rtol=1e-5, atol=1e-5)


def test_hooks_of_a_layer_are_still_called() -> None:
    quick = layer()
    use_onednn(quick)
    seen: list[torch.Size] = []
    quick.register_forward_pre_hook(lambda _module, args: seen.append(args[0].shape))
    with torch.inference_mode():
        quick(torch.ones(3, IN))
    assert seen == [torch.Size((3, IN))]


def test_gradients_are_those_of_torch() -> None:
    quick = layer()
    use_onednn(quick)
    quick(torch.ones(1, IN)).sum().backward()
    assert quick.weight.grad is not None
    assert torch.equal(quick.weight.grad, torch.ones(OUT, IN))


def test_small_layers_and_subclasses_of_linear_keep_their_forward() -> None:
    class Subclass(nn.Linear):
        pass

    modules = nn.ModuleList([layer(n_out=OUT - 1), Subclass(IN, OUT)])
    use_onednn(modules)
    assert all("forward" not in vars(module) for module in modules)


def test_without_the_operation_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn_layers, "has_quick_products", lambda: False)
    plain = layer()
    use_onednn(plain)
    assert "forward" not in vars(plain)
