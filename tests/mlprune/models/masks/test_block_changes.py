"""Changes of a block, and reading those of the next block in the background."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import ModelError, ShapeError
from mlprune.models.masks.block_changes import BlockChanges, DenseCopies, MaskSpill, read_ahead
from mlprune.models.masks.masking import MaskedBlocks
from mlprune.numeric.masks.packed_masks import PackedMask
from tests.pretended_gpus import pretended_gpus
from tests.tiny_models import ARCHITECTURES, tiny_model


def test_changes_of_boolean_masks_are_packed() -> None:
    mask = torch.tensor([[True, False, True]])
    changes = BlockChanges.of({"fc1": mask})
    assert torch.equal(changes.masks["fc1"].unpack(), mask)
    assert not changes.weights


def test_the_next_block_is_read_while_one_is_used() -> None:
    begun = {block: threading.Event() for block in (4, 5, 6)}

    def read(block: int) -> BlockChanges:
        begun[block].set()
        return BlockChanges({}, {str(block): torch.ones(1)})

    used = []
    for block, changes in read_ahead(read, [4, 5, 6]):
        assert list(changes.weights) == [str(block)]
        assert block == 6 or begun[block + 1].wait(300)
        assert block != 4 or not begun[6].is_set()
        used.append(block)
    assert used == [4, 5, 6]
    assert list(read_ahead(read, [])) == []


def test_an_error_of_reading_a_block_is_raised() -> None:
    def read(block: int) -> BlockChanges:
        if block == 1:
            raise OSError("gone")
        return BlockChanges({})

    changes = read_ahead(read, [0, 1, 2])
    with pytest.raises(OSError, match="gone"):
        list(changes)


def test_weights_of_an_accelerator_are_copied_once_until_the_room_is_used() -> None:
    with pretended_gpus():
        gpu, cpu = torch.device("cuda:0"), torch.device("cpu")
        weights = [torch.full((4, 4), float(n)).to(gpu) for n in range(3)]
        copies = DenseCopies({gpu: 2 * 64, cpu: 2**20})
        for n, weight in enumerate(weights):
            copies.keep((n, "fc1"), weight)
            copies.keep((n, "fc1"), weight.zero_())
        for n in range(2):
            copy = copies.get((n, "fc1"))
            assert copy is not None
            assert copy.device == gpu
            assert copy.cpu().eq(n).all()
        copies.keep((3, "fc1"), torch.ones(4, 4))
        assert copies.get((2, "fc1")) is copies.get((3, "fc1")) is None


def blocks_of(name: str, **changes: Any) -> dict[int, Any]:
    model = tiny_model(name, seed=2, blocks=2, **changes)
    return dict(enumerate(model.requires_grad_(False).get_submodule(ARCHITECTURES[name].blocks)))


def biases_of(blocks: dict[int, Any]) -> dict[tuple[int, str], Tensor]:
    return {
        (block, name): parameter.clone()
        for block, module in blocks.items()
        for name, parameter in module.named_parameters()
        if name.endswith("bias")
    }


def refuse_reading(block: int, layers: object) -> dict[str, Tensor]:
    raise AssertionError("biases are not read again")


def test_biases_are_exchanged_and_undone_bit_for_bit() -> None:
    blocks = blocks_of("xglm")
    dense, masked = biases_of(blocks), MaskedBlocks(blocks, ARCHITECTURES["xglm"], refuse_reading)
    first = {"fc2": torch.arange(16.0), "self_attn.out_proj": torch.ones(16, dtype=torch.float64)}
    masked.exchange(lambda block: BlockChanges({}, biases=first if block == 0 else {}))
    assert torch.equal(blocks[0].fc2.bias, first["fc2"])
    assert torch.equal(blocks[0].self_attn.out_proj.bias, torch.ones(16))
    masked.exchange(lambda block: BlockChanges({}, biases={"fc2": -first["fc2"]}))
    assert torch.equal(blocks[0].fc2.bias, -first["fc2"])
    assert torch.equal(blocks[0].self_attn.out_proj.bias, dense[0, "self_attn.out_proj.bias"])
    masked.set_all({})
    assert all(torch.equal(bias, dense[key]) for key, bias in biases_of(blocks).items())


def test_a_block_on_disk_gets_its_biases_after_it_was_loaded() -> None:
    blocks, is_loaded = blocks_of("gpt2"), [False]
    dense = biases_of(blocks)
    masked = MaskedBlocks(
        blocks, ARCHITECTURES["gpt2"], refuse_reading, offloaded=[1], in_memory=lambda _: is_loaded[0]
    )
    new = torch.arange(16.0)
    masked.exchange(lambda block: BlockChanges({}, biases={"mlp.c_proj": new}), blocks=[1])
    assert torch.equal(blocks[1].mlp.c_proj.bias, dense[1, "mlp.c_proj.bias"])
    for _ in range(2):  # the block is loaded, and loaded again after it was dropped
        blocks[1].mlp.c_proj.bias.copy_(dense[1, "mlp.c_proj.bias"])
        masked.restore(1)
        assert torch.equal(blocks[1].mlp.c_proj.bias, new)
    is_loaded[0] = True
    masked.dense(1)
    assert torch.equal(blocks[1].mlp.c_proj.bias, dense[1, "mlp.c_proj.bias"])
    masked.restore(1)
    assert all(torch.equal(bias, dense[key]) for key, bias in biases_of(blocks).items())


def test_biases_that_do_not_fit_are_refused_before_anything_changes() -> None:
    blocks = blocks_of("llama", attention_bias=False)
    masked = MaskedBlocks(blocks, ARCHITECTURES["llama"], refuse_reading)
    with pytest.raises(ShapeError):
        masked.exchange(lambda _: BlockChanges({}, biases={"mlp.down_proj": torch.zeros(32)}))
    with pytest.raises(ModelError):
        masked.exchange(lambda _: BlockChanges({}, biases={"fc2": torch.zeros(16)}))
    assert biases_of(blocks) == {}
    blocks = blocks_of("xglm")
    masked = MaskedBlocks(blocks, ARCHITECTURES["xglm"], refuse_reading)
    for wrong in (torch.zeros(15), torch.zeros(16, dtype=torch.int64)):
        with pytest.raises(ShapeError):
            masked.exchange(lambda _, wrong=wrong: BlockChanges({}, biases={"fc2": wrong}))  # type: ignore[misc]


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_a_layer_without_a_bias_has_one_only_while_a_variant_adds_it(is_on_disk: bool) -> None:
    blocks, is_loaded = blocks_of("llama", attention_bias=False), [not is_on_disk]
    offloaded = [0] if is_on_disk else []
    masked = MaskedBlocks(
        blocks, ARCHITECTURES["llama"], refuse_reading, offloaded=offloaded, in_memory=lambda _: is_loaded[0]
    )
    new = torch.arange(16, dtype=torch.float64)
    masked.exchange(lambda block: BlockChanges({}, biases={"mlp.down_proj": new} if block == 0 else {}))
    for _ in range(2 if is_on_disk else 0):  # the block is loaded, and loaded again after it was dropped
        masked.restore(0)
    assert list(biases_of(blocks)) == [(0, "mlp.down_proj.bias")]
    assert torch.equal(blocks[0].mlp.down_proj.bias, new.float())
    assert not blocks[0].mlp.down_proj.bias.requires_grad
    masked.exchange(lambda block: BlockChanges({}, biases={"self_attn.o_proj": -new} if block == 0 else {}))
    if is_on_disk:
        masked.restore(0)
    assert list(biases_of(blocks)) == [(0, "self_attn.o_proj.bias")]
    masked.set_all({})
    assert biases_of(blocks) == {}


def packed(masks):
    return {layer: PackedMask.pack(mask) for layer, mask in masks.items()}


def test_spilled_masks_and_weights_are_read_back_unchanged():
    generator = torch.Generator().manual_seed(0)
    masks = {"fc1": torch.rand(7, 5, generator=generator) > 0.5, "a.b": torch.rand(3, 11, generator=generator).T > 0.5}
    weights = {"fc2": torch.randn(4, 6, generator=generator).to(torch.bfloat16).T}
    kept = MaskSpill()
    kept.write(3, packed(masks), weights)
    for layer, mask in masks.items():
        assert torch.equal(kept.mask_of(3, layer).unpack(), mask)
    assert torch.equal(kept.weight_of(3, "fc2"), weights["fc2"])
    assert kept.mask_of(3, "fc2") is kept.weight_of(3, "fc1") is kept.mask_of(2, "fc1") is None
    kept.write(3, packed({"fc1": ~masks["fc1"]}), {})
    assert torch.equal(kept.mask_of(3, "fc1").unpack(), ~masks["fc1"])
    assert kept.mask_of(3, "a.b") is kept.weight_of(3, "fc2") is None


def test_a_spilled_mask_takes_one_bit_per_weight_and_a_dense_block_nothing():
    kept = MaskSpill()
    kept.write(0, packed({"fc1": torch.ones(800, 1000, dtype=torch.bool)}), {})
    folder = Path(kept._folder.name)
    assert 100_000 < sum(file.stat().st_size for file in folder.glob("*.safetensors")) < 101_000
    kept.write(0, {}, {})
    assert not list(folder.glob("*.safetensors"))
    assert kept.mask_of(0, "fc1") is None
    del kept
    assert not folder.exists()


def test_a_deleted_scratch_folder_is_an_error():
    kept = MaskSpill()
    kept.write(0, packed({"fc1": torch.ones(2, 2, dtype=torch.bool)}), {})
    kept._file(0).unlink()
    with pytest.raises(ModelError):
        kept.mask_of(0, "fc1")
    kept._folder.cleanup()
    with pytest.raises(ModelError):
        kept.write(0, packed({"fc1": torch.ones(2, 2, dtype=torch.bool)}), {})
