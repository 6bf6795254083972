"""Running the blocks of one shard: loading them, embedding, and stepping hidden states through them.

What is asked of a shard (observing, sweeping, scoring, decoding) is in `shard.py`.
"""

import inspect
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import DynamicCache

from mlprune.errors import ModelError, StatisticsError
from mlprune.models.checkpoint import family_at
from mlprune.models.device_map import CPU, place
from mlprune.models.families import Family
from mlprune.models.hooks import calls_on, hidden_of, input_observer, prepare
from mlprune.models.loading import load_shard_module
from mlprune.models.payloads import Travelling
from mlprune.terms import DtypeName


class BlockRunner:
    """Blocks `blocks` of the model in a folder, with the embeddings before the first and the head behind the last.

    Args:
        path: model folder.
        blocks: consecutive blocks, of the model's `n_blocks`.
        n_blocks: how many blocks the whole model has.
        dtype: of the weights and the arithmetic.
    Raises:
        ModelError: the folder is not one we read, or it has not these blocks.
    """

    def __init__(self, path: Path, blocks: range, *, n_blocks: int, dtype: DtypeName) -> None:
        self.blocks = blocks
        self.n_blocks = n_blocks
        self.family = family_at(path)
        self._model = load_shard_module(path, blocks, dtype)
        everything = list(self._model.get_submodule(self.family.blocks).children())
        if len(everything) != n_blocks or not blocks or not set(blocks) <= set(range(n_blocks)):
            raise ModelError("the model has other blocks", expected=n_blocks, got=len(everything), blocks=str(blocks))
        self.modules: dict[int, nn.Module] = {block: everything[block] for block in blocks}
        own = _own_modules(self._model, self.family, self)
        place(own)
        self.device = next((tensor.device for module in own.values() for tensor in module.parameters()), CPU)
        self._accepted = inspect.signature(self._model.get_submodule(self.family.base).forward).parameters

    @property
    def is_first(self) -> bool:
        """Whether block 0 is here, and so the embeddings."""
        return self.blocks.start == 0

    @property
    def is_last(self) -> bool:
        """Whether the last block is here, and so the final norm and the head."""
        return self.blocks.stop == self.n_blocks

    @property
    def head(self) -> Any:
        """The map to the vocabulary, a linear layer."""
        return self._model.get_submodule(self.family.head)

    def new_cache(self) -> DynamicCache:
        """An empty key-value cache; only the own blocks fill their part of it."""
        return DynamicCache(config=self._model.config)

    def embed(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        *,
        cache: DynamicCache | None = None,
        positions: Tensor | None = None,
    ) -> Travelling:
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
        capture = prepare(self._model, self.family, **inputs)
        return Travelling(capture.hidden, dict(enumerate(capture.calls)))

    def run(self, states: Travelling, cache: DynamicCache | None = None) -> Travelling:
        """Run all own blocks."""
        for block in self.blocks:
            states = self.step(block, states, cache)
        return states

    def step(self, block: int, states: Travelling, cache: DynamicCache | None = None) -> Travelling:
        """Run one block."""
        args, kwargs = states.calls[block].with_cache(cache)
        hidden = hidden_of(self.modules[block](states.hidden, *args, **kwargs), self.family)
        return Travelling(hidden, {other: call for other, call in states.calls.items() if other != block})

    def step_observed(self, block: int, states: Travelling, counted: Tensor) -> tuple[Travelling, dict[str, Tensor]]:
        """Run one block and sum the squares of what its layers read: input -> [b, in] float32, on the CPU.

        Raises:
            StatisticsError: a counted activation is not finite.
        """
        try:
            with input_observer(self.modules[block], self.family, counted) as sums:
                after = self.step(block, states)
        except StatisticsError as err:
            raise StatisticsError(err.message, err.context, block=block) from err
        return after, {name: tensor.cpu() for name, tensor in sums.items()}

    def normed(self, hidden: Tensor) -> Tensor:
        """Apply the final norm to [..., d], on the head's device."""
        normed: Tensor = self._model.get_submodule(self.family.final_norm)(hidden)
        return normed.to(self.head.weight.device)

    def arrived(self, states: Travelling) -> Travelling:
        """States from another shard, on this one's device."""
        return Travelling(states.hidden.to(self.device), calls_on(states.calls, self.device))


def leaving(states: Travelling) -> Travelling:
    """States for another shard, on the CPU."""
    return Travelling(states.hidden.to(CPU), calls_on(states.calls, CPU))


def _own_modules(model: nn.Module, family: Family, runner: BlockRunner) -> dict[str, nn.Module]:
    """The modules a shard runs, in the order in which they run."""
    elsewhere = (f"{family.blocks}.", f"{family.final_norm}.", f"{family.head}.")
    embeds = {
        name: module
        for name, module in model.named_modules()
        if not f"{name}.".startswith(elsewhere) and (module._parameters or module._buffers)
    }
    blocks = {f"{family.blocks}.{block}": module for block, module in runner.modules.items()}
    ends = {name: model.get_submodule(name) for name in (family.final_norm, family.head)}
    return {**(embeds if runner.is_first else {}), **blocks, **(ends if runner.is_last else {})}
