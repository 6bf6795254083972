"""Run the blocks of one shard: captured calls, key-value caches, embedding and final layers.

Capture how the model's own code calls its blocks.

The model's forward prepares masks, positions, alibi and all other arguments of a block. It runs once with stubs in
place of the blocks; any shard then replays the captured calls, and no argument is rebuilt by hand.

Run the blocks of one shard: embed, step hidden states through the blocks, and apply the final norm.

Several threads may run blocks at once, each with its own states, as long as no weight changes.
"""

import copy
import inspect
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from mlprune.models.architecture.architecture import Architecture, as_returned
from mlprune.models.hooks import LayerHooks
from mlprune.models.inference.kept_states import KeptStates
from mlprune.models.masks.changed_embeddings import ChangedEmbeddings
from mlprune.models.messages import BlockCall, CacheSlot, HiddenStates, calls_on, on_device

CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""Names of the parameter of a forward that takes the cache."""


def add_placeholder(cache: Cache, block: int, placeholder: Tensor) -> None:
    """Extend the cache of a block that does not run by a placeholder.

    The model's code sizes the masks of each kind of block (full or sliding attention) by the cache of the first block
    of that kind. States of recurrent blocks have no length.

    Args:
        placeholder: [b, 1, s, 1], one number per token.
    """
    if block >= len(cache.layers) or isinstance(cache.layers[block], CacheLayerMixin):
        cache.update(placeholder, placeholder, block)


@dataclass(frozen=True)
class Capture:
    """Arguments that the model's code passes to its blocks."""

    hidden: Tensor
    """[b, s, d]: the embedding output, input of block 0."""
    calls: tuple[BlockCall, ...]
    """One per block, in order."""


class _Stub(nn.Module):
    """Replaces a block: records its call and returns the hidden states unchanged. It has the block's attributes."""

    def __init__(self, block: nn.Module, captured: list[tuple[Tensor, BlockCall]], *, n_returned: int | None) -> None:
        super().__init__()
        self._captured = captured
        self._n_returned = n_returned
        self._attributes = block.__getattr__, vars(block)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the block."""
        find, of_instance = vars(self)["_attributes"]
        return of_instance[name] if name in of_instance else find(name)

    def forward(self, *args: object, **kwargs: object) -> Tensor | tuple[Tensor | None, ...]:
        """Record the call; return the states in the form that the model's code expects of a block."""
        if args:
            hidden, *others = args
        else:
            name = next(
                name for name, value in kwargs.items() if isinstance(value, Tensor) and value.is_floating_point()
            )
            hidden, others = kwargs.pop(name), []
        assert isinstance(hidden, Tensor), "the architecture was discovered with hidden states as the first argument"
        call = BlockCall(tuple(others), kwargs).replace_instances(Cache, lambda _: CacheSlot())
        self._captured.append((hidden, call))
        return as_returned(hidden, self._n_returned)


@contextmanager
def capture_calls(model: nn.Module, architecture: Architecture) -> Iterator[list[tuple[Tensor, BlockCall]]]:
    """Replace the blocks by stubs and the modules after them by the identity while the context lasts.

    All threads share the model: while one thread is in the context, no other may enter it or look up a block or a
    module after the blocks in the model.

    Yields: a list that the model's forward fills with (hidden states, call), one entry per block.
    """
    captured: list[tuple[Tensor, BlockCall]] = []
    blocks = enumerate(model.get_submodule(architecture.blocks).children())
    stubs = nn.ModuleList(
        _Stub(module, captured, n_returned=architecture.block(block).n_returned) for block, module in blocks
    )
    with ExitStack() as stack:
        stack.enter_context(_swapped(model, architecture.blocks, stubs))
        for path in architecture.tail:
            if any(True for _ in model.get_submodule(path).parameters()):  # others may also run before the blocks
                stack.enter_context(_swapped(model, path, nn.Identity()))
        yield captured


def prepare(model: nn.Module, architecture: Architecture, **inputs: object) -> Capture:
    """Run the model's forward up to its blocks; one thread at a time, see `capture_calls`.

    Args:
        model: causal language model; only its embeddings have to be loaded.
        architecture: architecture of the model.
        inputs: keyword arguments of the base model's forward.
    """
    with capture_calls(model, architecture) as captured:
        model.get_submodule(architecture.base)(**inputs)
    return Capture(hidden=captured[0][0], calls=tuple(call for _, call in captured))


def hidden_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the hidden states from the output of a block."""
    return output if isinstance(output, Tensor) else output[0]


@contextmanager
def _swapped(model: nn.Module, path: str, module: nn.Module) -> Iterator[None]:
    """Replace a submodule while the context lasts."""
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    original = owner.get_submodule(name)
    setattr(owner, name, module)
    try:
        yield
    finally:
        setattr(owner, name, original)


class _SessionCache(DynamicCache):  # type: ignore[misc]
    """Cache of a decoding session. The model's code builds its masks without reading on the host whether all are True.

    It does so for caches of fixed size, in steps of one token. If all are True, it gets no mask; see `DecodingVisitor`.
    """

    is_compileable = True


class KeyValueCaches:
    """Caches of the blocks of a shard: keys and values, and the states of recurrent blocks.

    Args:
        config: config of the model.
        blocks: blocks of the shard.
        n_blocks: number of blocks of the model.
        device: device for placeholders.
    """

    def __init__(self, config: PretrainedConfig, blocks: range, *, n_blocks: int, device: torch.device) -> None:
        self._empty = DynamicCache(config=config)
        self._empty_session = _SessionCache(config=config)
        self._blocks = blocks
        self._n_blocks = n_blocks
        self._device = device
        self._sessions: dict[str, DynamicCache] = {}

    def new(self, *, is_session: bool = False) -> DynamicCache:
        """Return an empty cache; the shard fills only the layers of its own blocks."""
        cache = copy.copy(self._empty_session if is_session else self._empty)
        cache.layers = [copy.deepcopy(layer) for layer in cache.layers]
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
        shifted_cache = self.new(is_session=True)
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
        """Extend the layers of other shards' blocks by n_new tokens, with placeholders."""
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
            add_placeholder(cache, block, placeholder)

    @property
    def open_sessions(self) -> tuple[str, ...]:
        """Keys of the decoding sessions that have a cache."""
        return tuple(self._sessions)

    def session(self, key: str) -> DynamicCache:
        """Return the cache of a decoding session; create it if there is none."""
        if key not in self._sessions:
            self._sessions[key] = self.new(is_session=True)
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


class BlockRunner:
    """Consecutive blocks of a model; the first shard also embeds, the last also has the final norm and the head.

    Args:
        model: the model; the modules of these blocks are loaded at the latest before they run.
        architecture: architecture of the model.
        blocks: blocks of the shard.
        device: device of the shard's first module.
    """

    def __init__(
        self, model: PreTrainedModel, architecture: Architecture, blocks: range, *, device: torch.device
    ) -> None:
        self.blocks = blocks
        self.architecture = architecture
        self.device = device
        self.model = model
        every_block = list(model.get_submodule(architecture.blocks).children())
        self.n_blocks = len(every_block)
        self.modules: Mapping[int, nn.Module] = {block: every_block[block] for block in blocks}
        self._devices = {block: _device_of(module) for block, module in self.modules.items()}
        head = model.get_submodule(architecture.head)
        assert isinstance(head, nn.Linear), "a model is checked when it is built"
        self.head = head
        self._tail = [model.get_submodule(path) for path in architecture.tail]
        self._embedding_lock = threading.Lock()
        keeps_states = architecture.is_recurrent and not architecture.has_cache
        self._block_lock: AbstractContextManager[object] = threading.Lock() if keeps_states else nullcontext()
        """The modules of some blocks keep the state of a text while they run."""
        self.hooks = LayerHooks([(module, architecture.block(block)) for block, module in self.modules.items()])
        self.caches = KeyValueCaches(model.config, blocks, n_blocks=self.n_blocks, device=device)
        self._shifts: dict[int, Tensor] = {}
        self.removed_tokens: Tensor | None = None
        """[vocab] bool, on the head's device; see `set_removed_tokens`."""
        self.embeddings = ChangedEmbeddings(model, {})
        """Embedding and head of the shard, which a variant may change."""
        self.kept_states: KeptStates | None = None
        """States that later variants continue; None: none are kept."""
        base = model.get_submodule(architecture.base)
        self._forward_parameters = inspect.signature(base.forward).parameters
        # It reads the tokens on the host. A mask is left out only if no token is padding.
        base.warn_if_padding_and_no_attention_mask = lambda *_: None

    @property
    def is_first(self) -> bool:
        """Whether the shard has block 0, and so the embeddings."""
        return self.blocks.start == 0

    @property
    def is_last(self) -> bool:
        """Whether the shard has the last block, and so the final norm and the head."""
        return self.blocks.stop == self.n_blocks

    @property
    def is_on_cpu(self) -> bool:
        """Whether all blocks run on the CPU."""
        return set(self._devices.values()) == {torch.device("cpu")}

    def embed(
        self,
        token_ids: Tensor,
        attention_mask: Tensor | None,
        *,
        cache: DynamicCache | None = None,
        positions: Tensor | None = None,
    ) -> HiddenStates:
        """Let the model's code prepare the states before block 0 and the calls of all blocks.

        Args:
            token_ids: [b, s] int64.
            attention_mask: [b, t] bool, over the tokens in the cache and the new ones; None if all are real tokens.
            cache: cache with the tokens before these; None if there are none.
            positions: [b, s] int64, positions of the new tokens; ignored by models that take no positions.
        """
        assert self.is_first, "only the first shard embeds"
        inputs: dict[str, object] = {
            "input_ids": on_device(token_ids, self.device),
            "use_cache": cache is not None,
        }
        if attention_mask is not None:
            inputs["attention_mask"] = on_device(attention_mask.long(), self.device)
        if cache is not None:
            inputs[next(name for name in CACHE_NAMES if name in self._forward_parameters)] = cache
        if positions is not None and "position_ids" in self._forward_parameters:
            inputs["position_ids"] = on_device(positions, self.device)
        with self._embedding_lock:
            capture = prepare(self.model, self.architecture, **inputs)
        return self.receive(HiddenStates(capture.hidden, dict(enumerate(capture.calls))))

    def receive(self, states: HiddenStates) -> HiddenStates:
        """Move states to the shard's first device, and the calls of its blocks to theirs: a mask once per device."""
        calls = dict(states.calls)
        if not self.is_on_cpu:
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

    @property
    def first_shift(self) -> int:
        """The first block whose output is shifted; the number of blocks if none is."""
        return min(self._shifts, default=self.n_blocks)

    def set_removed_tokens(self, removed: Tensor | None) -> None:
        """Set the tokens that get no probability, bool [vocab]; None for a model with its whole vocabulary."""
        self.removed_tokens = None if removed is None else removed.to(self.head.weight.device)

    def without_removed(self, logits: Tensor) -> Tensor:
        """Return logits [..., vocab] in which removed tokens have minus infinity."""
        return logits if self.removed_tokens is None else logits.masked_fill(self.removed_tokens, -torch.inf)

    def step(self, block: int, states: HiddenStates, cache: DynamicCache | None = None) -> HiddenStates:
        """Run one block and add its shift, if it has one."""
        call = states.calls[block].with_cache(cache)
        with self._block_lock:
            hidden = hidden_of(self.modules[block](states.hidden, *call.args, **call.kwargs))
        if block in self._shifts:
            hidden = hidden + self._shifts[block].to(hidden)
        return HiddenStates(hidden, {later: call for later, call in states.calls.items() if later != block})

    def apply_final_norm(self, hidden: Tensor) -> Tensor:
        """Apply the modules between the last block and the head to [..., d]; the result is on the head's device."""
        for module in self._tail:
            hidden = module(hidden)
        return hidden.to(self.head.weight.device)

    def logits_of(self, outputs: Tensor) -> Tensor:
        """Return the logits for outputs of the head: scaled and capped as the model's code does."""
        scale, cap = self.architecture.logit_scale, self.architecture.softcap
        scaled = outputs if scale == 1 else outputs * scale
        return scaled if cap is None else cap * torch.tanh(scaled / cap)


def _device_of(module: nn.Module) -> torch.device:
    """Return the device of a block; an offloaded one runs on the CPU."""
    device = next(module.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device
