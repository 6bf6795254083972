"""Running the blocks of one shard: loading them, embedding, and stepping hidden states through them.

All of it may be called by several threads at once, each with its own states, while no weight changes.
What is asked of a shard (observing, sweeping, scoring, decoding) is in `shard.py`.
"""

import copy
import inspect
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from mlprune.errors import ModelError, StatisticsError
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, family_at, weight_name
from mlprune.models.device_map import CPU
from mlprune.models.hooks import InputSums, Taps, calls_on, hidden_of, prepare
from mlprune.models.inference.fast_linear import use_quick_products
from mlprune.models.messages import HiddenStates
from mlprune.models.meta_model import MetaModel
from mlprune.models.placement.placed_modules import BEFORE, PlacedModules
from mlprune.numeric.activations.active_neurons import active_counts
from mlprune.vocabulary import DtypeName

__all__ = ["BEFORE", "BlockRunner", "leaving"]


class BlockRunner:
    """Blocks `blocks` of the model in a folder, with the embeddings before the first and the head behind the last.

    Args:
        path: model folder.
        blocks: consecutive blocks, of the model's `n_blocks`.
        n_blocks: how many blocks the whole model has.
        dtype: of the weights and the arithmetic.
        memory_bytes, working_bytes: see `PlacedModules`; parts that find no room take turns (`in_turns`, by number),
            and are in memory between `read` and `drop`.
    Raises:
        ModelError: the folder is not one we read, it has not these blocks, its config scales logits in a way that is
            not known here, or the memory has no room for one block.
    """

    def __init__(
        self,
        path: Path,
        blocks: range,
        *,
        n_blocks: int,
        dtype: DtypeName,
        memory_bytes: int | None = None,
        working_bytes: int | None = None,
    ) -> None:
        self.blocks = blocks
        self.n_blocks = n_blocks
        self.family = family_at(path)
        self._path = path
        self._dtype = DTYPES[dtype]
        parts = MetaModel(path, dtype)
        self._model = parts.model
        use_quick_products(self._model)
        everything = list(self._model.get_submodule(self.family.blocks).children())
        if len(everything) != n_blocks or not blocks or not set(blocks) <= set(range(n_blocks)):
            raise ModelError("the model has other blocks", expected=n_blocks, got=len(everything), blocks=str(blocks))
        self.modules: dict[int, nn.Module] = {block: everything[block] for block in blocks}
        self.logit_softcap = _logit_softcap(self._model.config)
        self.head: Any = self._model.get_submodule(self.family.head)
        self._final_norm = self._model.get_submodule(self.family.final_norm)
        self._embedding = threading.Lock()
        self._empty_cache = DynamicCache(config=self._model.config)
        memory: dict[str, int | None] = {"memory_bytes": memory_bytes, "working_bytes": working_bytes}
        self._placed = PlacedModules(parts, blocks, n_blocks=n_blocks, **memory)
        self.in_turns, self.window = self._placed.in_turns, self._placed.window
        self.device = self._placed.first_device
        self._taps = Taps(self.modules.values(), self.family)
        self._shifts: dict[int, Tensor] = {}
        self._accepted = inspect.signature(self._model.get_submodule(self.family.base).forward).parameters

    def read(self, part: int) -> None:
        """Bring a part that takes turns to memory, dense.

        Raises:
            ModelError: the checkpoint no longer holds it.
        """
        self._placed.read(part)

    def drop(self, part: int) -> None:
        """Let a part that takes turns go."""
        self._placed.drop(part)

    @property
    def behind(self) -> int:
        """What stands behind the blocks, as a part."""
        return self.n_blocks

    @property
    def is_first(self) -> bool:
        """Whether block 0 is here, and so the embeddings."""
        return self.blocks.start == 0

    @property
    def is_last(self) -> bool:
        """Whether the last block is here, and so the final norm and the head."""
        return self.blocks.stop == self.n_blocks

    def new_cache(self) -> DynamicCache:
        """An empty key-value cache; only the own blocks fill their part of it."""
        cache = copy.copy(self._empty_cache)
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        return cache

    def moved(self, cache: DynamicCache, n_padding: Tensor) -> DynamicCache:
        """A cache of several rows, each of which holds what the one row of a cache does, some places later.

        Args:
            cache: of one row and t tokens, none of them dropped.
            n_padding: [b] int64: places before the row's first token; of its t places it has t - n_padding tokens.
        """
        moved = self.new_cache()
        for block, layer in enumerate(cache.layers):
            if layer.is_initialized:
                places = torch.arange(layer.keys.shape[2]) - n_padding.unsqueeze(1)
                places = places.clamp(min=0).to(layer.keys.device)
                rows = [states[0][:, places].transpose(0, 1) for states in (layer.keys, layer.values)]
                moved.update(*rows, block)
        return moved

    def embed(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        *,
        cache: DynamicCache | None = None,
        positions: Tensor | None = None,
    ) -> HiddenStates:
        """Let the model's code prepare the states before block 0 and the calls of all blocks.

        Args:
            token_ids: [b, s] int64.
            attention_mask: [b, t] bool, over what the cache holds and the new tokens.
            cache: what came before, to be continued; nothing comes before without one.
            positions: [b, s] int64, of the new tokens; used where the model takes positions.
        """
        assert self.is_first, "only the first shard embeds"
        inputs: dict[str, Any] = {
            "input_ids": token_ids.to(self.device),
            "attention_mask": attention_mask.long().to(self.device),
            "use_cache": cache is not None,
        }
        if cache is not None:
            inputs["cache" if "cache" in self._accepted else "past_key_values"] = cache
        if positions is not None and "position_ids" in self._accepted:
            inputs["position_ids"] = positions.to(self.device)
        with self._embedding:
            capture = prepare(self._model, self.family, **inputs)
        return HiddenStates(capture.hidden, dict(enumerate(capture.calls)))

    def pad_remote_cache_lengths(self, cache: DynamicCache, n_rows: int, n_new: int) -> None:
        """Let the cache of the shard that embeds know how long other shards' caches have become.

        The model's code sizes the masks of a kind of block (full or sliding attention) by the cache of the first block
        of that kind, which may be elsewhere. One number stands for the keys and values of a token.
        """
        self._note(cache, n_rows, n_new, blocks=[block for block in range(self.n_blocks) if block not in self.blocks])

    def cache_of_length(self, n_rows: int, n_tokens: int) -> DynamicCache:
        """A cache to embed with, that is as long as if so many tokens had passed all blocks; it holds no keys."""
        cache = self.new_cache()
        self._note(cache, n_rows, n_tokens, blocks=range(self.n_blocks))
        return cache

    def _note(self, cache: DynamicCache, n_rows: int, n_new: int, *, blocks: Iterable[int]) -> None:
        placeholder = torch.zeros(n_rows, 1, n_new, 1, device=self.device)
        for block in blocks:
            cache.update(placeholder, placeholder, block)

    def set_shifts(self, shifts: Mapping[int, Tensor]) -> None:
        """From now on, add a vector to the hidden states of all tokens behind some blocks, and none behind others.

        Args:
            shifts: block -> [d], any float dtype; blocks of other shards are passed over.
        """
        self._shifts = {block: shift for block, shift in shifts.items() if block in self.blocks}

    def step(self, block: int, states: HiddenStates, cache: DynamicCache | None = None) -> HiddenStates:
        """Run one block, and add the vector that is to be added behind it."""
        args, kwargs = states.calls[block].with_cache(cache)
        hidden = hidden_of(self.modules[block](states.hidden, *args, **kwargs), self.family)
        if block in self._shifts:
            hidden = hidden + self._shifts[block].to(hidden)
        return HiddenStates(hidden, {other: call for other, call in states.calls.items() if other != block})

    def step_observed(
        self, block: int, states: HiddenStates, counted: Tensor
    ) -> tuple[HiddenStates, dict[str, Tensor]]:
        """Run one block and sum the squares of what its layers read: input -> [b, in] float32, on the CPU.

        Raises:
            StatisticsError: a counted activation is not finite; block and input are named.
        """
        listener = InputSums(self.family, counted)
        try:
            with self._taps.listening(listener):
                after = self.step(block, states)
        except StatisticsError as err:
            raise StatisticsError(err.message, err.context, block=block) from err
        return after, {name: tensor.cpu() for name, tensor in listener.sums().items()}

    def only_observed(
        self, block: int, states: HiddenStates, counted: Tensor, *, keeps_tokens: bool
    ) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
        """Run one block as far as the inputs of its last layers, for what its layers read.

        Returns: the sums as of `step_observed`; and, if asked, input -> counted tokens [t, in] of each demonstration.
        Raises:
            StatisticsError: a counted activation is not finite; block and input are named.
        """
        listener = InputSums(self.family, counted, keeps_tokens=keeps_tokens, stops=True)
        try:
            with self._taps.listening(listener):
                self.step(block, states)
        except StatisticsError as err:
            raise StatisticsError(err.message, err.context, block=block) from err
        return {name: tensor.cpu() for name, tensor in listener.sums().items()}, listener.tokens

    def step_counted(self, block: int, states: HiddenStates, counted: Tensor) -> tuple[HiddenStates, Tensor]:
        """Run one block and count how often each of its neurons fires: [neurons] int64, on the CPU.

        Raises:
            StatisticsError: a counted activation is not finite; the block is named.
        """
        counts: list[Tensor] = []

        def count(activations: Tensor) -> None:
            counts.append(active_counts(activations.reshape(*counted.shape, -1), counted))

        try:
            with self._taps.listening(neurons=count):
                after = self.step(block, states)
        except StatisticsError as err:
            raise StatisticsError(err.message, err.context, block=block) from err
        (found,) = counts
        return after, found.cpu()

    def stored(self, block: int, layers: Iterable[str]) -> dict[str, Tensor]:
        """Weights of a block as the checkpoint has them, in the shard's dtype: layer -> the stored tensor, not turned.

        Raises:
            ModelError: the checkpoint cannot be read.
        """
        files = WeightFiles(self._path, self.family)
        return {layer: files.read(weight_name(self.family, block, layer), self._dtype) for layer in layers}

    def normed(self, hidden: Tensor) -> Tensor:
        """Apply the final norm to [..., d], on the head's device."""
        normed: Tensor = self._final_norm(hidden)
        return normed.to(self.head.weight.device)

    def arrived(self, states: HiddenStates) -> HiddenStates:
        """States from another shard, on this one's device."""
        return HiddenStates(states.hidden.to(self.device), calls_on(states.calls, self.device))


def leaving(states: HiddenStates) -> HiddenStates:
    """States for another shard, on the CPU."""
    return HiddenStates(states.hidden.to(CPU), calls_on(states.calls, CPU))


def _logit_softcap(config: Any) -> float | None:
    """The cap c of logits c * tanh(logits / c), where a model has one (Gemma 2).

    Raises:
        ModelError: the config scales logits otherwise (Cohere, Granite).
    """
    for name in ("logit_scale", "logits_scaling"):
        scale = getattr(config, name, None)
        if scale not in (None, 1):
            message = "the model scales its logits, which is not done here"
            raise ModelError(message, model_type=config.model_type, setting=name, expected=1, got=scale)
    cap = getattr(config, "final_logit_softcapping", None)
    return float(cap) if cap else None
