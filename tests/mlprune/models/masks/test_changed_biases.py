"""New biases: applied with a variant, undone bit for bit, also in blocks on disk."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import ModelError, ShapeError
from mlprune.models.families.records import FAMILIES
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.masks.masking import MaskedBlocks
from tests.tiny_models import tiny_model


def blocks_of(name: str, **changes: Any) -> dict[int, Any]:
    model = tiny_model(name, seed=2, blocks=2, **changes)
    return dict(enumerate(model.requires_grad_(False).get_submodule(FAMILIES[name].blocks)))


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
    dense, masked = biases_of(blocks), MaskedBlocks(blocks, FAMILIES["xglm"], refuse_reading)
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
    family = FAMILIES["gpt2"]
    masked = MaskedBlocks(blocks, family, refuse_reading, offloaded=[1], in_memory=lambda _: is_loaded[0])
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
    masked = MaskedBlocks(blocks, FAMILIES["llama"], refuse_reading)
    with pytest.raises(ShapeError):
        masked.exchange(lambda _: BlockChanges({}, biases={"mlp.down_proj": torch.zeros(32)}))
    with pytest.raises(ModelError):
        masked.exchange(lambda _: BlockChanges({}, biases={"fc2": torch.zeros(16)}))
    assert biases_of(blocks) == {}
    blocks = blocks_of("xglm")
    masked = MaskedBlocks(blocks, FAMILIES["xglm"], refuse_reading)
    for wrong in (torch.zeros(15), torch.zeros(16, dtype=torch.int64)):
        with pytest.raises(ShapeError):
            masked.exchange(lambda _, wrong=wrong: BlockChanges({}, biases={"fc2": wrong}))  # type: ignore[misc]


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_a_layer_without_a_bias_has_one_only_while_a_variant_adds_it(is_on_disk: bool) -> None:
    blocks, is_loaded = blocks_of("llama", attention_bias=False), [not is_on_disk]
    offloaded = [0] if is_on_disk else []
    masked = MaskedBlocks(
        blocks, FAMILIES["llama"], refuse_reading, offloaded=offloaded, in_memory=lambda _: is_loaded[0]
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
