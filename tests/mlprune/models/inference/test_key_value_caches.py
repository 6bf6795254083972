"""Key-value caches of a shard."""

import pytest
import torch
from transformers import AutoConfig

from mlprune.models.inference.key_value_caches import KeyValueCaches
from tests.pretended_gpus import pretended_gpus
from tests.tiny_models import save_tiny_model

BLOCKS = 3


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return AutoConfig.from_pretrained(save_tiny_model(tmp_path_factory.mktemp("llama"), "llama", blocks=BLOCKS))


def caches_of(config, blocks=range(BLOCKS)):
    return KeyValueCaches(config, blocks, n_blocks=BLOCKS, device=torch.device("cpu"))


def lengths_of(cache):
    return [cache.get_seq_length(block) for block in range(BLOCKS)]


def filled(caches, n_tokens):
    """A cache of one row whose keys are 0, 1, 2, ..."""
    cache = caches.new()
    keys = torch.arange(n_tokens, dtype=torch.float32).reshape(1, 1, n_tokens, 1)
    for block in range(BLOCKS):
        cache.update(keys, keys + 100, block)
    return cache


def test_new_caches_are_empty_and_independent(config):
    caches = caches_of(config)
    first, second = caches.new(), caches.new()
    first.update(torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 8), 0)
    assert (lengths_of(first)[0], lengths_of(second)) == (4, [0, 0, 0])


def test_a_cache_for_one_block_is_filled_in_that_block_alone(config):
    caches = caches_of(config)
    cache = caches.for_block(1)
    cache.update(torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 8), 1)
    assert (lengths_of(cache), lengths_of(caches.for_block(1))) == ([0, 4, 0], [0, 0, 0])
    assert lengths_of(caches.new()) == [0, 0, 0]


def test_a_shifted_cache_has_the_tokens_of_each_row_after_its_padding(config):
    caches = caches_of(config)
    shifted = caches.shifted(filled(caches, 4), torch.tensor([0, 2]))
    for block in range(BLOCKS):
        keys, values = shifted.layers[block].keys, shifted.layers[block].values
        assert keys.shape == (2, 1, 4, 1)
        assert keys[0].flatten().tolist() == [0, 1, 2, 3]
        assert keys[1].flatten()[2:].tolist() == [0, 1]
        assert torch.equal(values, keys + 100)


def test_some_rows_of_one_block_are_copied_and_the_cache_stays_as_it_is(config):
    caches = caches_of(config)
    cache = caches.shifted(filled(caches, 4), torch.tensor([0, 2]))
    copied = caches.with_rows(cache, torch.tensor([1, 0, 1]), block=1)
    assert lengths_of(copied) == [0, 4, 0]
    assert copied.layers[1].values[:, 0, :, 0].tolist() == [
        [100, 100, 100, 101],
        [100, 101, 102, 103],
        [100, 100, 100, 101],
    ]
    copied.update(torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1, 1), 1)
    assert lengths_of(cache) == [4, 4, 4]
    assert len(cache.layers[1].keys) == 2


def test_a_cache_is_shifted_with_one_copy_of_the_positions_to_the_device(config):
    with pretended_gpus() as ledger:
        caches = KeyValueCaches(config, range(BLOCKS), n_blocks=BLOCKS, device=torch.device("cuda:0"))
        cache = caches.new()
        keys = torch.arange(4.0, device="cuda:0").reshape(1, 1, 4, 1)
        for block in range(BLOCKS):
            cache.update(keys, keys, block)
        ledger.clear()
        shifted = caches.shifted(cache, torch.tensor([0, 2]))
        assert (ledger.uploads, ledger.blocking_uploads, ledger.waits) == (1, 0, 0)
        assert shifted.layers[2].keys[:, 0, :, 0].tolist() == [[0, 1, 2, 3], [0, 0, 0, 1]]


def test_a_cache_of_a_length_contains_one_number_per_token(config):
    cache = caches_of(config).of_length(2, 5)
    assert lengths_of(cache) == [5, 5, 5]
    assert all(layer.keys.numel() == 10 for layer in cache.layers)


def test_only_layers_of_other_shards_are_padded(config):
    caches = caches_of(config, range(1))
    cache = caches.new()
    caches.pad_remote_lengths(cache, 2, 3)
    caches.pad_remote_lengths(cache, 2, 1)
    assert lengths_of(cache) == [0, 4, 4]


def test_a_session_keeps_its_cache_until_it_ends(config):
    caches = caches_of(config)
    assert caches.session("a") is caches.session("a")
    assert caches.session("a") is not caches.session("b")
    caches.end("a")
    caches.end("never begun")
    assert caches.open_sessions == ("b",)


def test_a_session_continues_a_prefix(config):
    caches = caches_of(config)
    caches.begin_prefix("prefix")
    keys = torch.arange(3, dtype=torch.float32).reshape(1, 1, 3, 1)
    caches.session("prefix").update(keys, keys, 0)
    caches.continue_prefix("prefix", "rows", torch.tensor([1, 0]))
    assert caches.session("rows").layers[0].keys[:, 0, :, 0].tolist() == [[0, 0, 1], [0, 1, 2]]
    assert lengths_of(caches.session("rows"))[1:] == [0, 0]
