import pytest
import torch
from torch import nn

from mlprune.models.device_map import CPU, choose_devices, move_inputs


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an accelerator")
def test_without_an_accelerator_all_modules_stay_on_the_cpu_unchanged():
    modules = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}
    devices = choose_devices(modules)
    assert devices == {"a": CPU, "b": CPU}
    move_inputs(modules, devices)
    assert not any(module._forward_pre_hooks for module in modules.values())


def test_without_a_budget_nothing_is_on_disk_and_with_one_the_first_modules_stay_in_memory():
    with torch.device("meta"):
        modules = {f"{n}": nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)) for n in range(5)}
    assert set(choose_devices(modules, with_accelerators=False).values()) == {CPU}
    for n_bytes, n_staying in ((0, 0), (127, 0), (128, 1), (300, 2), (600, 4), (640, 5), (10**9, 5)):
        devices = choose_devices(modules, cpu_bytes=n_bytes, with_accelerators=False)
        assert list(devices.values()) == [CPU] * n_staying + [None] * (5 - n_staying)


def test_all_inputs_and_buffers_of_a_module_are_moved_to_its_device():
    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2, device="meta")
            self.register_buffer("bias", torch.zeros(2))

        def forward(self, hidden, *, masks, cache):
            return self.inner(hidden) + self.bias, masks, cache

    module, cache = Seen(), object()
    move_inputs({"a": module}, {"a": torch.device("meta")})
    output, masks, same = module(torch.randn(4, 3), masks=(torch.ones(2), None), cache=cache)
    assert output.device.type == masks[0].device.type == "meta"
    assert same is cache


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_small_modules_go_to_the_first_accelerator_whole():
    with torch.device("meta"):
        modules = {"a": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "b": nn.Linear(2, 2)}
    assert set(choose_devices(modules).values()) == {torch.device("cuda", 0)}
