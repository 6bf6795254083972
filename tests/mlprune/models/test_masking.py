import pytest
import torch

from mlprune.errors import ModelError, ShapeError
from mlprune.models.families import FAMILIES, oriented
from mlprune.models.masking import MaskedBlocks
from tests.tiny_models import FAMILY_NAMES, tiny_model


def blocks_of(name):
    blocks = dict(enumerate(tiny_model(name, seed=2, blocks=2).get_submodule(FAMILIES[name].blocks)))
    for module in blocks.values():
        module.requires_grad_(False)
    return blocks


def weights_of(blocks, name):
    return {
        (block, layer): oriented(module.get_submodule(layer).weight, FAMILIES[name]).clone()
        for block, module in blocks.items()
        for layer in FAMILIES[name].layers
    }


def random_masks(weights, seed):
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.rand(weight.shape, generator=generator) > 0.4 for key, weight in weights.items()}


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_masks_zero_exactly_the_removed_and_come_off_bit_exactly(name):
    blocks = blocks_of(name)
    dense = weights_of(blocks, name)
    masked = MaskedBlocks(blocks, FAMILIES[name])
    for seed in range(2):
        masks = random_masks(dense, seed)
        masked.set_all(masks)
        for key, weight in weights_of(blocks, name).items():
            assert torch.equal(weight, torch.where(masks[key], dense[key], 0.0))
            assert not torch.signbit(weight[~masks[key]]).any()
        assert torch.equal(masked.dense(1)[key[1]], dense[1, key[1]])
    masked.set_all({})
    assert all(torch.equal(weight, dense[key]) for key, weight in weights_of(blocks, name).items())


def test_a_layer_without_a_mask_becomes_dense_and_untouched_blocks_are_not_copied():
    blocks = blocks_of("gpt2")
    dense = weights_of(blocks, "gpt2")
    masks = random_masks(dense, 0)
    masked = MaskedBlocks(blocks, FAMILIES["gpt2"])
    masked.set_block(0, {layer: masks[0, layer] for layer in FAMILIES["gpt2"].layers})
    masked.set_all({(0, "mlp.c_fc"): masks[0, "mlp.c_fc"], (7, "mlp.c_fc"): torch.zeros(1, 1, dtype=torch.bool)})
    now = weights_of(blocks, "gpt2")
    changed = {key for key, weight in now.items() if not torch.equal(weight, dense[key])}
    assert changed == {(0, "mlp.c_fc")}
    assert {block for block, _ in masked._originals} == {0}


def test_a_mask_of_the_wrong_shape_type_or_layer_is_an_error_and_changes_nothing():
    blocks = blocks_of("gpt2")
    dense = weights_of(blocks, "gpt2")
    masked = MaskedBlocks(blocks, FAMILIES["gpt2"])
    good = {(0, "attn.c_attn"): torch.zeros(48, 16, dtype=torch.bool)}
    with pytest.raises(ShapeError, match=r"block=1, layer='attn.c_attn', expected=\(48, 16\)"):
        masked.set_all({**good, (1, "attn.c_attn"): torch.ones(16, 48, dtype=torch.bool)})
    with pytest.raises(ShapeError, match=r"float32"):
        masked.set_all({**good, (1, "attn.c_attn"): torch.ones(48, 16)})
    with pytest.raises(ModelError, match="no such layer"):
        masked.set_all({**good, (0, "attn.q"): torch.ones(16, 16, dtype=torch.bool)})
    with pytest.raises(ModelError, match="not in this shard"):
        masked.set_block(5, {"attn.c_attn": torch.ones(48, 16, dtype=torch.bool)})
    assert all(torch.equal(weight, dense[key]) for key, weight in weights_of(blocks, "gpt2").items())
