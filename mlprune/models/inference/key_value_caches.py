"""Key-value caches of one shard: new, shifted and placeholder caches, and the caches of decoding sessions."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import CacheLayerMixin

from mlprune.models.inference.block_calls import on_device


class KeyValueCaches:
    """Caches of the blocks of a shard.

    Args:
        config: config of the model.
        blocks: blocks of the shard.
        n_blocks: number of blocks of the model.
        device: device for placeholders.
    """

    def __init__(self, config: PretrainedConfig, blocks: range, *, n_blocks: int, device: torch.device) -> None:
        self._empty = DynamicCache(config=config)
        self._blocks = blocks
        self._n_blocks = n_blocks
        self._device = device
        self._sessions: dict[str, DynamicCache] = {}

    def new(self) -> DynamicCache:
        """Return an empty cache; the shard fills only the layers of its own blocks."""
        cache = copy.copy(self._empty)
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        return cache

    def for_block(self, block: int) -> DynamicCache:
        """Return an empty cache of which only the layer of one block may be filled; the other layers are shared."""
        return self._with_layer(block, self._empty.layers[block])

    def _with_layer(self, block: int, layer: CacheLayerMixin) -> DynamicCache:
        """Return a cache with a copy of one layer. Copying all layers for each block would be quadratic in blocks."""
        cache = copy.copy(self._empty)
        cache.layers = list(self._empty.layers)
        cache.layers[block] = copy.copy(layer)
        return cache

    def shifted(self, cache: DynamicCache, n_padding: Tensor) -> DynamicCache:
        """Copy a cache of one row to several rows, each shifted right by a number of positions.

        Args:
            cache: cache of one row with t tokens; it has not dropped any.
            n_padding: [b] int64, positions before each row's first token; a row keeps its first t - n_padding tokens.
        """
        shifted_cache = self.new()
        positions_on: dict[tuple[torch.device, int], Tensor] = {}
        for block, layer in enumerate(cache.layers):
            if layer.is_initialized:
                where = layer.keys.device, layer.keys.shape[2]
                if where not in positions_on:
                    positions = (torch.arange(where[1]) - n_padding.unsqueeze(1)).clamp(min=0)
                    positions_on[where] = on_device(positions, where[0])
                positions = positions_on[where]
                keys, values = (states[0][:, positions].transpose(0, 1) for states in (layer.keys, layer.values))
                shifted_cache.update(keys, values, block)
        return shifted_cache

    def with_rows(self, cache: DynamicCache, rows: Tensor, *, block: int) -> DynamicCache:
        """Return a cache with one filled layer, that of a block: some rows of another cache, copied once.

        Args:
            rows: [n] int64, on the device of the block.
        """
        copied = self._with_layer(block, cache.layers[block])
        copied.layers[block].batch_select_indices(rows)
        return copied

    def pad_remote_lengths(self, cache: DynamicCache, n_rows: int, n_new: int) -> None:
        """Extend the layers of other shards' blocks by n_new tokens, with placeholders.

        The model's code sizes the masks of each kind of block (full or sliding attention) by the cache of the first
        block of that kind, which may be in another shard. A placeholder takes one number per token.
        """
        self._extend(
            cache, n_rows, n_new, blocks=[block for block in range(self._n_blocks) if block not in self._blocks]
        )

    def of_length(self, n_rows: int, n_tokens: int) -> DynamicCache:
        """Return a cache of placeholders for n_tokens, to embed the tokens after them."""
        cache = self.new()
        self._extend(cache, n_rows, n_tokens, blocks=range(self._n_blocks))
        return cache

    def _extend(self, cache: DynamicCache, n_rows: int, n_new: int, *, blocks: Iterable[int]) -> None:
        placeholder = torch.zeros(n_rows, 1, n_new, 1, device=self._device)
        for block in blocks:
            cache.update(placeholder, placeholder, block)

    @property
    def open_sessions(self) -> tuple[str, ...]:
        """Keys of the decoding sessions that have a cache."""
        return tuple(self._sessions)

    def session(self, key: str) -> DynamicCache:
        """Return the cache of a decoding session; create it if there is none."""
        if key not in self._sessions:
            self._sessions[key] = self.new()
        return self._sessions[key]

    def begin_prefix(self, key: str) -> None:
        """Begin a session that keeps all keys and values, so that other sessions can continue it."""
        self._sessions[key] = DynamicCache()

    def continue_prefix(self, prefix: str, key: str, n_padding: Tensor) -> None:
        """Begin a session whose rows all start with the one row of another session; see `shifted`."""
        self._sessions[key] = self.shifted(self._sessions[prefix], n_padding)

    def end(self, key: str) -> None:
        """Drop the cache of a session."""
        self._sessions.pop(key, None)
