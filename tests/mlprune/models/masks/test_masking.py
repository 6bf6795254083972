import pytest
import torch

from mlprune.errors import ModelError, ShapeError
from mlprune.models.architecture.architecture import oriented
from mlprune.models.masks import masking
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.masks.masking import MaskedBlocks
from mlprune.numeric.weights.quantisation import Quantisation, quantised
from mlprune.pruning.scoring import described_levels
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused
from tests.tiny_models import ARCHITECTURES, FAMILY_NAMES, tiny_model


def blocks_of(name):
    blocks = dict(enumerate(tiny_model(name, seed=2, blocks=2).get_submodule(ARCHITECTURES[name].blocks)))
    for module in blocks.values():
        module.requires_grad_(False)
    return blocks


def weights_of(blocks, name):
    return {
        (block, layer): oriented(module.get_submodule(layer).weight, ARCHITECTURES[name].block(block)).clone()
        for block, module in blocks.items()
        for layer in ARCHITECTURES[name].block(block).layers
    }


class Disk:
    """A fake checkpoint: copies of the weights, and a log of what was read."""

    def __init__(self, blocks, name):
        self._kept = {
            (block, layer): module.get_submodule(layer).weight.clone()
            for block, module in blocks.items()
            for layer in ARCHITECTURES[name].layers
        }
        self.read = []

    def __call__(self, block, layers):
        self.read += [(block, layer) for layer in layers]
        return {layer: self._kept[block, layer].clone() for layer in layers}


def masked_blocks(name, dtype=torch.float32):
    blocks = {block: module.to(dtype) for block, module in blocks_of(name).items()}
    disk = Disk(blocks, name)
    return blocks, MaskedBlocks(blocks, ARCHITECTURES[name], disk), disk


def random_masks(weights, seed):
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.rand(weight.shape, generator=generator) > 0.4 for key, weight in weights.items()}


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_masks_zero_exactly_the_removed_weights_and_are_undone_bit_for_bit(name):
    blocks, masked, _ = masked_blocks(name)
    dense = weights_of(blocks, name)
    for seed in range(2):
        masks = random_masks(dense, seed)
        masked.set_all(masks)
        for key, weight in weights_of(blocks, name).items():
            assert torch.equal(weight, torch.where(masks[key], dense[key], 0.0))
            assert not torch.signbit(weight[~masks[key]]).any()
    assert all(torch.equal(weight, dense[1, layer]) for layer, weight in masked.dense(1).items())
    masked.set_all({})
    assert all(torch.equal(weight, dense[key]) for key, weight in weights_of(blocks, name).items())


def test_only_changed_layers_are_read_again():
    blocks, masked, disk = masked_blocks("gpt2")
    dense = weights_of(blocks, "gpt2")
    masks = random_masks(dense, 0)
    masked.set_block(0, {layer: masks[0, layer] for layer in ("attn.c_attn", "mlp.c_fc")})
    masked.dense(1)
    assert not disk.read
    masked.set_all({(0, "mlp.c_fc"): ~masks[0, "mlp.c_fc"], (7, "mlp.c_fc"): torch.zeros(1, 1, dtype=torch.bool)})
    assert disk.read == [(0, "attn.c_attn"), (0, "mlp.c_fc")]
    now = weights_of(blocks, "gpt2")
    assert {key for key, weight in now.items() if not torch.equal(weight, dense[key])} == {(0, "mlp.c_fc")}
    fewer = ~masks[0, "mlp.c_fc"] & masks[0, "mlp.c_fc"].roll(1)
    masked.set_all({(0, "mlp.c_fc"): fewer})
    assert torch.equal(weights_of(blocks, "gpt2")[0, "mlp.c_fc"], torch.where(fewer, dense[0, "mlp.c_fc"], 0.0))
    assert len(disk.read) == 2, "a mask that only removes more weights reads nothing"
    masked.dense(0)
    masked.dense(0)
    assert disk.read[2:] == [(0, "mlp.c_fc")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["xglm", "gpt2"])
def test_exchanged_masks_and_weights_equal_a_plain_product_in_every_dtype(name, dtype):
    blocks, masked, _ = masked_blocks(name, dtype)
    dense = weights_of(blocks, name)
    first = ARCHITECTURES[name].layers[0]
    new = torch.randn(dense[0, first].shape).double()
    for seed in range(3):
        masks = {key: mask for key, mask in random_masks(dense, seed).items() if key[0] == 0 or seed}
        weights = {(0, first): new} if seed == 1 else {}
        masked.exchange(
            lambda block, masks=masks, weights=weights: BlockChanges.of(
                {layer: mask for (owner, layer), mask in masks.items() if owner == block},
                {layer: weight for (owner, layer), weight in weights.items() if owner == block},
            )
        )
        for key, weight in weights_of(blocks, name).items():
            source = weights.get(key, dense[key]).to(dtype)
            assert torch.equal(weight, torch.where(masks[key], source, 0) if key in masks else source)
    masked.set_all({})
    assert all(torch.equal(weight, dense[key]) for key, weight in weights_of(blocks, name).items())


def test_after_a_damaged_file_the_next_exchange_is_right():
    blocks, masked, _ = masked_blocks("xglm")
    dense = weights_of(blocks, "xglm")
    masks = random_masks(dense, 0)

    def read(block):
        if block == 1:
            raise ModelError("a file is damaged")
        return BlockChanges.of({layer: masks[block, layer] for layer in ARCHITECTURES["xglm"].layers})

    with pytest.raises(ModelError):
        masked.exchange(read)
    masked.exchange(lambda block: BlockChanges.of({"fc1": masks[block, "fc1"]}))
    for key, weight in weights_of(blocks, "xglm").items():
        assert torch.equal(weight, torch.where(masks[key], dense[key], 0) if key[1] == "fc1" else dense[key])


class Stored:
    """Changes of two blocks with a name, and a log of the blocks that were read."""

    def __init__(self, name, masks):
        self._name, self._masks = name, masks
        self.read = []

    def __call__(self, block):
        self.read.append(block)
        return BlockChanges.of({layer: mask for (owner, layer), mask in self._masks.items() if owner == block})

    def source(self, block):
        return f"{self._name} {block}" if block else "shared"


def test_a_block_that_has_the_changes_of_a_source_is_not_read_again():
    blocks, masked, _ = masked_blocks("xglm")
    dense = weights_of(blocks, "xglm")
    first = random_masks(dense, 0)
    second = {key: mask if key[0] == 0 else ~mask for key, mask in first.items()}
    changes = Stored("first", first), Stored("second", second), Stored("first", first)
    for one in changes:
        masked.exchange(one)
    assert [sorted(one.read) for one in changes] == [[0, 1], [1], [1]]
    masked.set_block(0, {})
    masked.exchange(changes[2])
    assert changes[2].read == [1, 0]
    masked.exchange(lambda _: BlockChanges({}))
    masked.exchange(changes[2])
    assert sorted(changes[2].read) == [0, 0, 1, 1]
    assert all(torch.equal(now, dense[key] * first[key]) for key, now in weights_of(blocks, "xglm").items())


def test_a_source_whose_changes_failed_is_read_again():
    blocks, masked, _ = masked_blocks("xglm")
    dense = weights_of(blocks, "xglm")
    good, bad = (Stored("all", masks) for masks in (random_masks(dense, 0), {(0, "fc1"): torch.ones(1, 1) > 0}))
    with pytest.raises(ShapeError):
        masked.exchange(bad)
    masked.exchange(good)
    assert sorted(good.read) == [0, 1]


def test_layers_that_keep_their_mask_are_not_written(monkeypatch):
    blocks, masked, disk = masked_blocks("xglm")
    dense = weights_of(blocks, "xglm")
    first = random_masks(dense, 0)
    masked.set_all(first)
    written = []
    replace_mask = masking.replace_mask
    monkeypatch.setattr(masking, "replace_mask", lambda *given, **more: written.append(replace_mask(*given, **more)))
    masked.set_all(first | {(1, "fc2"): ~first[1, "fc2"]})
    assert (len(written), disk.read) == (1, [(1, "fc2")])
    masked.set_all({key: mask for key, mask in first.items() if key != (0, "fc1")})
    assert (len(written), disk.read[1:]) == (3, [(0, "fc1"), (1, "fc2")])
    for key, weight in weights_of(blocks, "xglm").items():
        assert torch.equal(weight, dense[key] if key == (0, "fc1") else dense[key] * first[key])


@pytest.mark.parametrize("name", ["xglm", "gpt2"])
@pytest.mark.parametrize("has_room", [True, False])
def test_a_swap_on_a_gpu_sends_one_bit_per_weight_if_the_dense_copy_fits(name, has_room):
    with pretended_gpus() as ledger:
        device = torch.device("cuda:0")
        blocks, cpu_blocks = blocks_of(name), blocks_of(name)
        disk = Disk(blocks, name)
        for module in blocks.values():
            for layer in ARCHITECTURES[name].layers:
                linear = module.get_submodule(layer)
                linear.weight = torch.nn.Parameter(linear.weight.to(device), requires_grad=False)
        spare = {device: 10**6} if has_room else {}
        masked = MaskedBlocks(blocks, ARCHITECTURES[name], disk, spare_bytes=spare)
        dense = weights_of(cpu_blocks, name)
        n_weights = sum(weight.numel() for weight in dense.values())
        for seed in range(2):
            masks = random_masks(dense, seed)
            changes = {
                block: BlockChanges.of({layer: masks[block, layer] for layer in ARCHITECTURES[name].layers})
                for block in blocks
            }
            ledger.clear()
            masked.exchange(changes.__getitem__)
            returned = 0.0 if has_room or seed == 0 else 0.125 + 0.4 * 0.6 * 4
            assert ledger.bytes_to_device / n_weights <= 0.2 + returned
            assert ledger.bytes_to_host == 0
            for key, weight in weights_of(blocks, name).items():
                assert torch.equal(weight.cpu(), torch.where(masks[key], dense[key], 0))
        ledger.clear()
        masked.set_all({})
        assert all(torch.equal(weight.cpu(), dense[key]) for key, weight in weights_of(blocks, name).items())
        assert bool(disk.read) is not has_room


def test_masks_that_are_made_on_a_gpu_return_as_packed_bits():
    with pretended_gpus() as ledger:
        levels = torch.randint(4, (33, 7), dtype=torch.uint8)
        on_gpu = levels.to("cuda:0")
        ledger.clear()
        described = described_levels(on_gpu, (0.1, 0.2, 0.3))
        assert ledger.bytes_to_host <= 2 * ((levels.numel() + 7) // 8) + 8
        expected = described_levels(levels, (0.1, 0.2, 0.3))
        assert torch.equal(described.packed.unpack(), levels)
        assert (described.n_removed, described.keep_sha256) == (expected.n_removed, expected.keep_sha256)


def test_a_mask_or_weight_of_the_wrong_shape_dtype_or_layer_is_an_error_and_changes_nothing():
    blocks, masked, _ = masked_blocks("gpt2")
    dense = weights_of(blocks, "gpt2")
    good = {(0, "attn.c_attn"): torch.zeros(48, 16, dtype=torch.bool)}
    with refused(ShapeError, layer="attn.c_attn", block=1):
        masked.set_all({**good, (1, "attn.c_attn"): torch.ones(16, 48, dtype=torch.bool)})
    with refused(ShapeError, expected="bool [out, in]", got="torch.float32 (48, 16)"):
        masked.set_all({**good, (1, "attn.c_attn"): torch.ones(48, 16)})
    with refused(ModelError, expected=("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"), got="attn.q"):
        masked.set_all({**good, (0, "attn.q"): torch.ones(16, 16, dtype=torch.bool)})
    with refused(ModelError, expected=("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"), got="attn.q"):
        masked.set_block(0, {}, {"attn.q": torch.ones(16, 16)})
    for wrong in (torch.ones(16, 48), torch.ones(48, 16, dtype=torch.bool)):
        with refused(ShapeError, layer="attn.c_attn", block=0):
            masked.set_block(0, {"attn.c_attn": good[0, "attn.c_attn"]}, {"attn.c_attn": wrong})
    for reach in (masked.dense, lambda block: masked.set_block(block, {})):
        with refused(ModelError, block=5):
            reach(5)
    assert all(torch.equal(weight, dense[key]) for key, weight in weights_of(blocks, "gpt2").items())


def test_restoring_from_a_checkpoint_of_another_shape_is_an_error():
    blocks = blocks_of("gpt2")
    masked = MaskedBlocks(
        blocks, ARCHITECTURES["gpt2"], lambda _, layers: {layer: torch.ones(2, 2) for layer in layers}
    )
    masked.set_block(1, {"mlp.c_fc": torch.zeros(64, 16, dtype=torch.bool)})
    with refused(ModelError, layer="mlp.c_fc", block=1):
        masked.dense(1)


FOUR_BITS = Quantisation(4, 8)


def quantised_changes(masks, weights, block, quantisation=FOUR_BITS):
    of_block = [{layer: one for (owner, layer), one in by_key.items() if owner == block} for by_key in (masks, weights)]
    return BlockChanges(BlockChanges.of(of_block[0]).masks, of_block[1], quantisation)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["xglm", "gpt2"])
def test_quantised_weights_are_rounded_after_masks_and_new_weights_and_are_undone_bit_for_bit(name, dtype):
    blocks, masked, disk = masked_blocks(name, dtype)
    dense = weights_of(blocks, name)
    masks = {key: mask for key, mask in random_masks(dense, 0).items() if key[0] == 0}
    new = {(0, ARCHITECTURES[name].layers[0]): torch.randn(dense[0, ARCHITECTURES[name].layers[0]].shape)}

    def expected(key, weights=new, how=FOUR_BITS):
        weight = weights.get(key, dense[key]).to(dtype)
        return quantised(torch.where(masks[key], weight, 0) if key in masks else weight, how)

    masked.exchange(lambda block: quantised_changes(masks, {}, block, None))
    disk.read.clear()
    masked.exchange(lambda block: quantised_changes(masks, new, block))
    assert not disk.read, "the same mask and new weights need no dense weight"
    assert all(torch.equal(weight, expected(key)) for key, weight in weights_of(blocks, name).items())
    masked.exchange(lambda block: quantised_changes(masks, {}, block, Quantisation(8, 8)))
    after = weights_of(blocks, name)
    assert all(torch.equal(weight, expected(key, {}, Quantisation(8, 8))) for key, weight in after.items())
    masked.exchange(lambda block: quantised_changes(masks, {}, block, None))
    for key, weight in weights_of(blocks, name).items():
        assert torch.equal(weight, torch.where(masks[key], dense[key], 0) if key in masks else dense[key])
    masked.exchange(lambda block: quantised_changes({}, {}, block))
    masked.set_all({})
    assert all(torch.equal(weight, dense[key]) for key, weight in weights_of(blocks, name).items())


def test_a_quantised_block_on_disk_is_rounded_when_it_is_loaded():
    blocks, dense = blocks_of("gpt2"), weights_of(blocks_of("gpt2"), "gpt2")
    in_memory = set()
    masked = MaskedBlocks(
        blocks, ARCHITECTURES["gpt2"], Disk(blocks, "gpt2"), offloaded=[1], in_memory=in_memory.__contains__
    )
    masks = {key: mask for key, mask in random_masks(dense, 0).items() if key[1] == "mlp.c_fc"}
    masked.exchange(lambda block: quantised_changes(masks, {}, block))
    assert all(torch.equal(one, dense[key]) for key, one in weights_of(blocks, "gpt2").items() if key[0] == 1)
    in_memory.add(1)
    masked.restore(1)
    for key, weight in weights_of(blocks, "gpt2").items():
        kept = torch.where(masks[key], dense[key], 0) if key in masks else dense[key]
        assert torch.equal(weight, quantised(kept, FOUR_BITS)), key
    assert all(torch.equal(weight, dense[1, layer]) for layer, weight in masked.dense(1).items())
    masked.restore(1)
    assert torch.equal(weights_of(blocks, "gpt2")[1, "mlp.c_fc"], dense[1, "mlp.c_fc"])
