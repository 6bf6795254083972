"""Run the blocks of one shard: embed, step hidden states through the blocks, and apply the final norm.

Several threads may run blocks at once, each with its own states, as long as no weight changes.
"""

import inspect
import threading
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

from mlprune.errors import ModelError
from mlprune.models.families.records import Family
from mlprune.models.hooks import LayerHooks
from mlprune.models.inference.block_calls import calls_on, on_device
from mlprune.models.inference.call_capture import hidden_of, prepare
from mlprune.models.inference.key_value_caches import KeyValueCaches
from mlprune.models.messages import HiddenStates


class BlockRunner:
    """Consecutive blocks of a model; the first shard also embeds, the last also has the final norm and the head.

    Args:
        model: the model; the modules of these blocks are loaded at the latest before they run.
        family: family of the model.
        blocks: blocks of the shard.
        device: device of the shard's first module.
    Raises:
        ModelError: the model's config scales logits in a way that is not supported.
    """

    def __init__(self, model: PreTrainedModel, family: Family, blocks: range, *, device: torch.device) -> None:
        self.blocks = blocks
        self.family = family
        self.device = device
        self.model = model
        every_block = list(model.get_submodule(family.blocks).children())
        self.n_blocks = len(every_block)
        self.modules: Mapping[int, nn.Module] = {block: every_block[block] for block in blocks}
        self._devices = {block: _device_of(module) for block, module in self.modules.items()}
        self.logit_softcap = _logit_softcap(model.config)
        head = model.get_submodule(family.head)
        assert isinstance(head, nn.Linear), "a model is checked when it is built"
        self.head = head
        self._final_norm = model.get_submodule(family.final_norm)
        self._embedding_lock = threading.Lock()
        self.hooks = LayerHooks(self.modules.values(), family)
        self.caches = KeyValueCaches(model.config, blocks, n_blocks=self.n_blocks, device=device)
        self._shifts: dict[int, Tensor] = {}
        self._forward_parameters = inspect.signature(model.get_submodule(family.base).forward).parameters

    @property
    def is_first(self) -> bool:
        """Whether the shard has block 0, and so the embeddings."""
        return self.blocks.start == 0

    @property
    def is_last(self) -> bool:
        """Whether the shard has the last block, and so the final norm and the head."""
        return self.blocks.stop == self.n_blocks

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
            attention_mask: [b, t] bool, over the tokens in the cache and the new ones.
            cache: cache with the tokens before these; None if there are none.
            positions: [b, s] int64, positions of the new tokens; ignored by models that take no positions.
        """
        assert self.is_first, "only the first shard embeds"
        inputs: dict[str, object] = {
            "input_ids": on_device(token_ids, self.device),
            "attention_mask": on_device(attention_mask.long(), self.device),
            "use_cache": cache is not None,
        }
        if cache is not None:
            inputs["cache" if "cache" in self._forward_parameters else "past_key_values"] = cache
        if positions is not None and "position_ids" in self._forward_parameters:
            inputs["position_ids"] = on_device(positions, self.device)
        with self._embedding_lock:
            capture = prepare(self.model, self.family, **inputs)
        return self.receive(HiddenStates(capture.hidden, dict(enumerate(capture.calls))))

    def receive(self, states: HiddenStates) -> HiddenStates:
        """Move states to the shard's first device, and the calls of its blocks to theirs: a mask once per device."""
        calls = dict(states.calls)
        if set(self._devices.values()) != {torch.device("cpu")}:
            for device in dict.fromkeys(self._devices.values()):
                blocks_there = [block for block in calls if self._devices.get(block) == device]
                calls |= calls_on({block: calls[block] for block in blocks_there}, device)
        return HiddenStates(on_device(states.hidden, self.device), calls)

    def set_shifts(self, shifts: Mapping[int, Tensor]) -> None:
        """Set the vectors to add to the hidden states of all tokens after some blocks; they replace earlier ones.

        Args:
            shifts: block -> [d], any float dtype; blocks of other shards are ignored.
        """
        self._shifts = {block: shift for block, shift in shifts.items() if block in self.blocks}

    def step(self, block: int, states: HiddenStates, cache: DynamicCache | None = None) -> HiddenStates:
        """Run one block and add its shift, if it has one."""
        call = states.calls[block].with_cache(cache)
        hidden = hidden_of(self.modules[block](states.hidden, *call.args, **call.kwargs), self.family)
        if block in self._shifts:
            hidden = hidden + self._shifts[block].to(hidden)
        return HiddenStates(hidden, {later: call for later, call in states.calls.items() if later != block})

    def apply_final_norm(self, hidden: Tensor) -> Tensor:
        """Apply the final norm to [..., d]; the result is on the head's device."""
        normed: Tensor = self._final_norm(hidden)
        return normed.to(self.head.weight.device)

    def cap_logits(self, logits: Tensor) -> Tensor:
        """Return logits of the head as the model caps them; unchanged if it does not."""
        cap = self.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)


def _device_of(module: nn.Module) -> torch.device:
    """Return the device of a block; an offloaded one runs on the CPU."""
    device = next(module.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device


def _logit_softcap(config: PretrainedConfig) -> float | None:
    """Return the cap c of logits c * tanh(logits / c), if the model has one (Gemma 2).

    Raises:
        ModelError: the config scales logits in another way (Cohere, Granite).
    """
    for name in ("logit_scale", "logits_scaling"):
        scale = getattr(config, name, None)
        if scale not in (None, 1):
            message = "the model scales its logits, which is not supported"
            raise ModelError(message, model_type=config.model_type, setting=name, expected=1, got=scale)
    cap = getattr(config, "final_logit_softcapping", None)
    return float(cap) if cap else None
