import pytest
import torch
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError
from mlprune.models.block_ranges import plan_spans
from mlprune.models.families.records import FAMILIES
from mlprune.models.placement.memory_estimate import (
    GROUP_BYTES,
    Footprint,
    estimate_working_bytes,
    footprint,
    pruning_bytes,
    shard_bytes,
)
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, HIDDEN, VOCABULARY, load_shard_module, save_tiny_model

GIB = 2**30
LARGE = Footprint(
    before=2 * GIB,
    blocks=(GIB // 2,) * 8,
    tail=2 * GIB,
    tied=2 * GIB,
    on_demand=2 * GIB,
    prunable=(2**26, 2**26, 2**24),
    widest=2**14,
    hidden=2**12,
    inputs=2**15,
    vocabulary=2**18,
    itemsize=2,
)


def bytes_in_memory(path, span, dtype):
    """Bytes of the parameters of a loaded shard, tied ones once, and of the buffers outside of blocks."""
    model = load_shard_module(path, span, dtype)
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters() if p.device.type != "meta")
    buffers = [b for name, b in model.named_buffers() if ".layers." not in name and ".h." not in name]
    return n_bytes + (sum(b.numel() * b.element_size() for b in buffers) if span.start == 0 else 0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_sizes_are_those_of_the_loaded_shards(tmp_path, name, dtype):
    path = save_tiny_model(tmp_path, name)
    sizes, family = footprint(path, dtype), FAMILIES[name]
    for n_shards in (1, 2, 3):
        for span in plan_spans(3, n_shards):
            assert shard_bytes(sizes, span) == bytes_in_memory(path, span, dtype)
    block = load_shard_module(path, range(3), dtype).get_submodule(family.blocks)[0]
    weights = [block.get_submodule(layer).weight for layer in family.layers]
    assert sizes.prunable == tuple(sorted((weight.numel() for weight in weights), reverse=True))
    assert sizes.block == sum(p.numel() * p.element_size() for p in block.parameters())
    assert (sizes.vocabulary, sizes.hidden, sizes.itemsize) == (VOCABULARY, HIDDEN, weights[0].element_size())
    assert sizes.widest == max(size for weight in weights for size in weight.shape)
    assert sizes.on_demand == VOCABULARY * HIDDEN * sizes.itemsize


def test_inputs_counts_the_features_of_the_distinct_inputs(tmp_path):
    for name in ("xglm", "gpt2"):
        assert footprint(save_tiny_model(tmp_path / name, name), "float32").inputs == 3 * HIDDEN + 4 * HIDDEN


def test_a_head_that_is_stored_in_the_checkpoint_is_not_tied(tmp_path):
    path = save_tiny_model(tmp_path)
    assert footprint(path, "float32").tied == VOCABULARY * HIDDEN * 4
    tensors = load_file(path / "model.safetensors")
    head = torch.randn_like(tensors["model.embed_tokens.weight"])
    save_file({**tensors, "lm_head.weight": head}, path / "model.safetensors")
    assert footprint(path, "float32").tied == 0


def test_a_checkpoint_that_lacks_a_tensor_is_an_error(tmp_path):
    path = save_tiny_model(tmp_path)
    tensors = load_file(path / "model.safetensors")
    del tensors["model.layer_norm.bias"]
    save_file(tensors, path / "model.safetensors")
    with refused(ModelError, expected="model.layer_norm.bias"):
        footprint(path, "float32")


def test_pruning_needs_more_memory_with_more_threads_and_states_with_more_tokens():
    weights = 2 * 2**26 + 2**24
    assert pruning_bytes(LARGE) == weights * 4 + 2**26 * 6
    assert pruning_bytes(LARGE, n_threads=2) == weights * 4 + 2**27 * 6
    assert estimate_working_bytes(LARGE) == GROUP_BYTES + pruning_bytes(LARGE)
    assert estimate_working_bytes(LARGE, batch_tokens=2**14) == GROUP_BYTES + 2**14 * 2**14 * 16
