import pytest
import torch
from torch import nn

from mlprune.errors import ModelError
from mlprune.models import device_map
from mlprune.models.device_map import CPU, device_for, place, plan_spans


def test_spans_are_consecutive_and_balanced():
    assert plan_spans(7, 3) == (range(3), range(3, 5), range(5, 7))
    for n_blocks in range(1, 9):
        for n_shards in range(1, n_blocks + 1):
            spans = plan_spans(n_blocks, n_shards)
            assert [block for span in spans for block in span] == list(range(n_blocks))
            assert max(map(len, spans)) - min(map(len, spans)) <= 1


@pytest.mark.parametrize("n_shards", [0, 4])
def test_no_shards_or_more_shards_than_blocks_are_an_error(n_shards):
    with pytest.raises(ModelError, match=r"expected='1 to 3 shards'"):
        plan_spans(3, n_shards)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an accelerator")
def test_without_an_accelerator_everything_stays_on_the_cpu_untouched():
    modules = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}
    assert device_for(modules) == {"a": CPU, "b": CPU}
    place(modules)
    assert not any(module._forward_pre_hooks for module in modules.values())


def test_a_placed_module_and_all_its_inputs_go_to_its_device(monkeypatch):
    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, hidden, *, masks, cache):
            return self.inner(hidden), masks, cache

    module, cache = Seen(), object()
    monkeypatch.setattr(device_map, "device_for", lambda modules: dict.fromkeys(modules, torch.device("meta")))
    place({"a": module})
    output, masks, same = module(torch.randn(4, 3), masks=(torch.ones(2), None), cache=cache)
    assert module.inner.weight.device.type == output.device.type == masks[0].device.type == "meta"
    assert same is cache


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_small_modules_go_to_the_first_accelerator_whole():
    modules = {"a": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "b": nn.Linear(2, 2)}
    place(modules)
    assert {parameter.device for module in modules.values() for parameter in module.parameters()} == {
        torch.device("cuda", 0)
    }
