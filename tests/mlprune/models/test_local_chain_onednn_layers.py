"""Large linear layers use the oneDNN kernel, and nothing else about them changes."""

import pytest
import torch
from torch import nn

from mlprune.errors import ModelError
from mlprune.models import local_chain
from mlprune.models.families.records import FAMILIES
from mlprune.models.local_chain import _spare_bytes, load_shard, stored_weights, use_onednn
from mlprune.models.placement.budget import ALL_DEVICES, NO_DEVICES, DeviceBudget
from mlprune.numeric.log_probs import MIN_WEIGHTS
from tests.refusals import refused
from tests.tiny_models import save_tiny_model

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
    monkeypatch.setattr(local_chain, "has_quick_products", lambda: False)
    plain = layer()
    use_onednn(plain)
    assert "forward" not in vars(plain)


def test_blocks_the_model_does_not_have_are_an_error(folders):
    for blocks, n_blocks in ((range(2, 4), 3), (range(2), 2), (range(0), 3)):
        with refused(ModelError, got=3):
            load_shard(folders["xglm"], blocks, n_blocks=n_blocks, dtype="float32")


def runner_of(path, dtype="float32"):
    return load_shard(path, range(3), n_blocks=3, dtype=dtype).runner


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_read_again_equal_the_loaded_ones(tmp_path, dtype):
    runner = runner_of(save_tiny_model(tmp_path, "gpt2"), dtype)
    family = FAMILIES["gpt2"]
    read = stored_weights(tmp_path, family, 1, layers=family.layers)
    assert list(read) == list(FAMILIES["gpt2"].layers)
    for layer, weight in read.items():
        loaded = runner.modules[1].get_submodule(layer).weight
        assert weight.dtype == torch.float32
        assert torch.equal(weight.to(loaded.dtype), loaded)


def test_restoring_weights_from_a_deleted_file_is_an_error(tmp_path):
    path = save_tiny_model(tmp_path)
    shard = load_shard(path, range(3), n_blocks=3, dtype="float32")
    shard.set_keep_masks({(0, "fc1"): torch.zeros(64, 16, dtype=torch.bool)})
    (path / "model.safetensors").unlink()
    with refused(ModelError, expected="model.safetensors or model.safetensors.index.json"):
        shard.set_keep_masks(None)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ((1000, 400)[device.index], 2000))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 300)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (DeviceBudget(working_bytes=500), [400, 0]),  # 0.9 of the free memory without that of the work
        (DeviceBudget(1, working_bytes=500), [400]),
        (DeviceBudget(0.5, working_bytes=500), [100]),  # also without the weights, which are in the fraction
        (DeviceBudget(working_bytes=500, device_share=0.5), []),  # memory ran out before
        (NO_DEVICES, []),
        (ALL_DEVICES, []),  # no plan of the working memory
    ],
)
def test_dense_copies_get_the_memory_that_weights_and_work_leave(two_gpus, budget, expected):
    assert [_spare_bytes(budget).get(torch.device("cuda", n)) for n in range(len(expected))] == expected
    assert len(_spare_bytes(budget)) == len(expected)


def test_dense_copies_get_no_memory_without_an_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _spare_bytes(DeviceBudget(working_bytes=500)) == {}
