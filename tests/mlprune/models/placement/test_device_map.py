import pytest
import torch
from torch import nn

from mlprune.models.meta_model import MetaModel
from mlprune.models.placement.device_budget import ALL_DEVICES, DeviceBudget
from mlprune.models.placement.device_map import CPU, choose_devices, move_inputs
from mlprune.models.placement.memory_estimate import footprint, shard_bytes
from tests.tiny_models import save_tiny_model


@pytest.fixture
def measured(monkeypatch):
    """Pretend three accelerators with 1000 free bytes of 2000; the numbers of those that are measured."""
    numbers = []

    def memory(number):
        numbers.append(number)
        return 1000, 2000

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    return numbers


def layers(n, n_bytes):
    with torch.device("meta"):
        return {f"{index}": nn.Linear(n_bytes // 2, 1, bias=False, dtype=torch.float16) for index in range(n)}


def where(devices):
    return ["cpu" if device == CPU else device.index for device in devices.values()]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an accelerator")
def test_without_an_accelerator_all_modules_stay_on_the_cpu_unchanged():
    modules = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}
    devices = choose_devices(modules, accelerators=ALL_DEVICES)
    assert devices == {"a": CPU, "b": CPU}
    move_inputs(modules, devices)
    assert not any(module._forward_pre_hooks for module in modules.values())


def test_without_a_budget_nothing_is_on_disk_and_with_one_the_first_modules_stay_in_memory():
    with torch.device("meta"):
        modules = {f"{n}": nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)) for n in range(5)}
    assert set(choose_devices(modules).values()) == {CPU}
    for n_bytes, n_staying in ((0, 0), (127, 0), (128, 1), (300, 2), (600, 4), (640, 5), (10**9, 5)):
        devices = choose_devices(modules, cpu_bytes=n_bytes)
        assert list(devices.values()) == [CPU] * n_staying + [None] * (5 - n_staying)


def test_an_actor_without_accelerators_uses_and_measures_none(measured):
    assert where(choose_devices(layers(3, 100), accelerators=DeviceBudget(0))) == ["cpu"] * 3
    assert measured == []


@pytest.mark.parametrize(
    ("accelerators", "expected", "n_measured"),
    [
        (DeviceBudget(2, working_bytes=600), [0, 0, 0, 1, 1, 1, "cpu", "cpu"], 2),
        (DeviceBudget(3, working_bytes=600), [0, 0, 0, 1, 1, 1, 2, 2], 3),
        (DeviceBudget(1), [0] * 8, 1),
        (DeviceBudget(0.25, working_bytes=50), [0, 0, 0, 0, "cpu", "cpu", "cpu", "cpu"], 1),
        (DeviceBudget(1, device_share=0.5), [0] * 4 + ["cpu"] * 4, 1),
        (DeviceBudget(1, working_bytes=2000), ["cpu"] * 8, 1),
    ],
)
def test_every_accelerator_of_an_actor_keeps_room_for_the_work(measured, accelerators, expected, n_measured):
    assert where(choose_devices(layers(8, 100), accelerators=accelerators)) == expected
    assert measured == list(range(n_measured))


def test_a_tied_head_is_counted_once_and_is_on_the_accelerator_of_the_embeddings(tmp_path, monkeypatch):
    path = save_tiny_model(tmp_path, "xglm", blocks=2)
    sizes, model = footprint(path, "float32"), MetaModel(path, "float32").model
    assert sizes.tied > 0
    blocks = {f"model.layers.{block}": model.get_submodule(f"model.layers.{block}") for block in range(2)}
    ends = {name: model.get_submodule(name) for name in ("model.layer_norm", "lm_head")}
    modules = {"model.embed_tokens": model.get_submodule("model.embed_tokens"), **blocks, **ends}
    needed = shard_bytes(sizes, range(2))
    for room, is_whole in ((needed, True), (needed - sizes.block, False)):
        free = int(room / 0.9) + 1
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, free))
        devices = choose_devices(modules, accelerators=ALL_DEVICES)
        assert devices["model.embed_tokens"] == devices["lm_head"] == torch.device("cuda", 0)
        assert (CPU not in devices.values()) == is_whole


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
    assert set(choose_devices(modules, accelerators=ALL_DEVICES).values()) == {torch.device("cuda", 0)}
