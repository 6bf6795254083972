"""Discover the architecture of a causal language model: run its own code once, without weights.

The model is built and run under `FakeTensorMode`: tensors have shapes and no values, so that a model of 70 billion
weights takes seconds and little memory. Hooks record which modules run in which order and which tensor each reads.
A dispatch mode records for every tensor the layers that it comes from without another layer in between. So the
projections of attention, the layers before the neurons and everything that a block hands to a later block are seen,
whatever the model's code calls them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache, LinearAttentionCacheLayerMixin
from transformers.initialization import no_init_weights

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import (
    Architecture,
    BlockArchitecture,
    DenseParameter,
    Experts,
    HeadLayout,
    Part,
)
from mlprune.models.architecture.exceptions import EXCEPTIONS, Exceptions
from mlprune.models.architecture.logits import logit_transform
from mlprune.models.architecture.stored_forms import stored_forms, with_stored_forms
from mlprune.models.experts import is_stack, split_experts, stack_names

N_TEXTS, N_TOKENS = 2, 9
"""Shape of the texts that the model runs."""
TRANSPOSED = "Conv1D"
"""Name of the class of GPT-2's linear layers."""
NEURON_KEYS = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "block_ff_dim")
"""Keys of configs for the number of feed-forward neurons."""
HEAD_WIDTH_KEY = "head_dim"

Layer = tuple[int, str]
"""(block, path of a linear layer relative to it)."""
HIDDEN = ""
"""Stands for the hidden states before a block, in place of a layer."""
_ATTENTION: Layer = (-1, "attention")
"""Additional source of tensors that attention has computed."""
_MIXING: Layer = (-1, "mixing")
"""Additional source of tensors that another operation over several tokens or features has computed."""
_ATTENTION_OPERATIONS = ("softmax", "scaled_dot_product", "flex_attention")
_MIXING_OPERATIONS = ("bmm", "baddbmm", "mm", "addmm", "convolution", "cumsum", "cumprod", "index_add", "scatter_add")
_VIEWS = (
    "view", "_unsafe_view", "slice", "select", "alias", "detach", "unsqueeze", "squeeze", "reshape", "expand",
    "_to_copy", "clone", "device",
)  # fmt: skip
"""Operations that do not change values."""


def is_transposed(module: nn.Module) -> bool:
    """Whether a module is a linear layer that stores its weight [in, out]."""
    return type(module).__name__ == TRANSPOSED


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer."""
    return isinstance(module, nn.Linear) or is_transposed(module)


@dataclass
class _Call:
    """A module that ran."""

    path: str
    module: nn.Module
    read: Tensor | None
    """The first float tensor among its arguments."""
    sources: frozenset[Layer]
    """Where that tensor comes from."""
    others: frozenset[Layer]
    """Where the tensors in all its arguments except the first float tensor come from."""
    n_chosen: int = 0
    """Experts of a token, if the module is a set of experts."""
    result: object = None


class _Sources(TorchDispatchMode):
    """Records for each storage the layers that its values come from, without another layer in between."""

    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[int, frozenset[Layer]] = {}
        self._kept: list[Tensor] = []
        self.is_watching = False
        """Whether operations that change values are recorded."""
        self.watched: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sources = self.of([args, kwargs])
        name = func.__name__.partition(".")[0]
        if sources and any(part in name for part in _ATTENTION_OPERATIONS):
            sources |= {_ATTENTION}
        elif sources and name in _MIXING_OPERATIONS:
            sources |= {_MIXING}
        if sources:
            self.add(result, sources)
            if self.is_watching and name not in _VIEWS:
                self.watched.append(name)
        return result

    def of(self, values: object) -> frozenset[Layer]:
        """Return the sources of all tensors in nested values."""
        found = (self._sources.get(_storage(leaf)) for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
        return frozenset[Layer]().union(*(sources for sources in found if sources))

    def add(self, values: object, sources: frozenset[Layer]) -> None:
        """Add sources to all tensors in nested values."""
        for leaf in tree_leaves(values):
            if isinstance(leaf, Tensor):
                key = _storage(leaf)
                self._sources[key] = self._sources.get(key, frozenset()) | sources
                self._kept.append(leaf)

    def set(self, values: object, sources: frozenset[Layer]) -> None:
        """Let nested values come from these layers alone."""
        for leaf in tree_leaves(values):
            if isinstance(leaf, Tensor):
                self._sources[_storage(leaf)] = sources
                self._kept.append(leaf)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@dataclass
class _Trace:
    """What ran, in the order in which modules began."""

    calls: list[_Call] = field(default_factory=list)

    def in_block(self, prefix: str) -> list[_Call]:
        return [call for call in self.calls if call.path.startswith(prefix)]


def discover(model: PreTrainedModel) -> Architecture:
    """Discover the architecture of a model that was built under `FakeTensorMode`, which is active.

    Raises:
        ModelError: the model is not a chain of blocks between an embedding and a linear head.
    """
    name = str(model.config.model_type)
    head = _head_of(model)
    blocks = _block_list(model)
    modules = list(model.get_submodule(blocks).children())
    _refuse_shared_parameters(name, modules)
    trace = _run(model, blocks, n_blocks=len(modules), head=head)
    exceptions = EXCEPTIONS.get(name, Exceptions())
    recurrent = _recurrent_blocks(model.config, len(modules))
    found = [
        replace(_block(trace, block, module, f"{blocks}.{block}.", exceptions), is_recurrent=block in recurrent)
        for block, module in enumerate(modules)
    ]
    kinds = tuple(dict.fromkeys(found))
    embeddings, tail = _around(trace, model, blocks=blocks, head=head)
    base = _base_of(model, blocks)
    scale, cap = logit_transform(model, base=base, head=head)
    return Architecture(
        name=name,
        blocks=blocks,
        embeddings=embeddings,
        tail=tail,
        head=head,
        kinds=kinds,
        kind_of_block=tuple(map(kinds.index, found)),
        base=base,
        logit_scale=scale,
        softcap=cap,
        renamed=exceptions.renamed,
        head_width_key=exceptions.head_width_key or (HEAD_WIDTH_KEY if _has(model.config, HEAD_WIDTH_KEY) else None),
        neurons_key=_neurons_key(model.config, kinds),
        head_attributes=exceptions.head_attributes,
        alibi=exceptions.alibi,
    )


def _head_of(model: PreTrainedModel) -> str:
    head = model.get_output_embeddings()
    name = next((name for name, module in model.named_modules() if module is head), None)
    if name is None or not isinstance(head, nn.Linear):
        got = "none" if head is None else type(head).__name__
        message = "the model has no linear layer from its last hidden states to the vocabulary"
        raise ModelError(message, model_type=model.config.model_type, got=got)
    return name


def _block_list(model: PreTrainedModel) -> str:
    """Return the path of the list of modules with the most parameters; of equal ones the outermost."""
    lists = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) > 0
    }
    if not lists or not max(lists.values()):
        raise ModelError("the model has no list of blocks", model_type=model.config.model_type)
    return max(lists, key=lambda name: lists[name])


def _base_of(model: PreTrainedModel, blocks: str) -> str:
    """Return the innermost module around the blocks whose forward takes token ids."""
    path = blocks
    while path:
        path = path.rpartition(".")[0]
        if "input_ids" in signature(model.get_submodule(path).forward).parameters:
            return path
    return path


def _refuse_shared_parameters(name: str, modules: Sequence[nn.Module]) -> None:
    owners: dict[int, int] = {}
    for block, module in enumerate(modules):
        for parameter in module.parameters():
            if owners.setdefault(id(parameter), block) != block:
                got = [owners[id(parameter)], block]
                message = "blocks of the model share weights, so that one mask would change several of them"
                raise ModelError(message, model_type=name, expected="blocks with weights of their own", got=got)


def _run(model: PreTrainedModel, blocks: str, *, n_blocks: int, head: str) -> _Trace:
    """Run the model once and record it.

    Raises:
        ModelError: the blocks are not a chain: they do not run once each in order, change hidden states in between, or
            hand more than hidden states to a later block; or the model computes between its last block and its head.
    """
    paths = {module: path for path, module in model.named_modules()}
    block_of = {f"{blocks}.{block}": block for block in range(n_blocks)}
    trace, sources = _Trace(), _Sources()
    open_calls: list[_Call] = []
    depth: int | None = None
    last = f"{blocks}.{n_blocks - 1}"
    name = str(model.config.model_type)

    def begin(module: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        floats = [leaf for leaf in tree_leaves([args, dict(kwargs)]) if _is_float(leaf)]
        read = floats[0] if floats else None
        others = [leaf for leaf in tree_leaves([args, dict(kwargs)]) if isinstance(leaf, Tensor) and leaf is not read]
        path = paths[module]
        n_chosen = next((leaf.shape[-1] for leaf in others if not leaf.is_floating_point()), 0) if is_stack(module) else 0
        call = _Call(path, module, read, sources.of(read), sources.of(others), n_chosen)
        if path in block_of:
            sources.add(read, frozenset({(block_of[path], HIDDEN)}))
        trace.calls.append(call)
        open_calls.append(call)
        sources.is_watching = False

    def end(module: nn.Module, args: object, kwargs: object, result: object) -> None:
        nonlocal depth
        call = open_calls.pop()
        call.result = result
        if call.path == last:
            depth = len(open_calls)
        sources.is_watching = len(open_calls) == depth
        block = _block_at(call.path, blocks)
        if block is not None and is_linear(module):
            sources.set(result, frozenset({(block, call.path.removeprefix(f"{blocks}.{block}."))}))

    handles = [module.register_forward_pre_hook(begin, with_kwargs=True) for module in paths]
    handles += [module.register_forward_hook(end, with_kwargs=True) for module in paths]
    try:
        with torch.no_grad(), sources:
            model(input_ids=torch.ones(N_TEXTS, N_TOKENS, dtype=torch.int64), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    _check_chain(trace, name, block_of)
    if sources.watched:
        message = "the model computes between its last block and its head"
        raise ModelError(message, model_type=name, expected="only norms and linear layers", got=sources.watched)
    return trace


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _block_at(path: str, blocks: str) -> int | None:
    if not path.startswith(f"{blocks}."):
        return None
    return int(path.removeprefix(f"{blocks}.").partition(".")[0])


def _check_chain(trace: _Trace, name: str, block_of: Mapping[str, int]) -> None:
    """Check that the blocks run once each, in order, and hand only hidden states to each other."""
    calls = [call for call in trace.calls if call.path in block_of]
    order = [block_of[call.path] for call in calls]
    if order != list(range(len(block_of))):
        message = "the model does not run its blocks once each, in order"
        raise ModelError(message, model_type=name, expected=f"0 to {len(block_of) - 1}", got=_shortened(order))
    for earlier, call in zip(calls, calls[1:], strict=False):
        hidden = earlier.result[0] if isinstance(earlier.result, tuple | list) else earlier.result
        if call.read is not hidden:
            message = "the model changes hidden states between its blocks"
            raise ModelError(message, model_type=name, block=block_of[call.path])
        if any(block >= 0 for block, _ in call.others):
            message = "blocks of the model hand more than hidden states to later blocks"
            raise ModelError(message, model_type=name, block=block_of[call.path])


def _shortened(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")


def _recurrent_blocks(config: PretrainedConfig, n_blocks: int) -> set[int]:
    """Return the blocks whose cache has more than keys and values."""
    layers = DynamicCache(config=config).layers
    return {
        block
        for block in range(min(n_blocks, len(layers)))
        if isinstance(layers[block], LinearAttentionCacheLayerMixin)
    }


def _around(
    trace: _Trace, model: PreTrainedModel, *, blocks: str, head: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the modules with parameters of their own that run before the blocks, and those between blocks and head.

    Raises:
        ModelError: a module with parameters does not run, or a module after the blocks is not part of a chain.
    """
    owners = {path for path, module in model.named_modules() if module._parameters}
    inside = [index for index, call in enumerate(trace.calls) if call.path.startswith(f"{blocks}.")]
    before = _own(trace.calls[: inside[0]], owners)
    after = [path for path in _own(trace.calls[inside[-1] + 1 :], owners) if path != head]
    ran = {*before, *after, head}
    idle = sorted(path for path in owners if not path.startswith(f"{blocks}.") and path not in ran)
    if idle:
        message = "the model has weights outside its blocks that it does not use for text"
        raise ModelError(message, model_type=model.config.model_type, got=idle)
    return tuple(before), tuple(after)


def _own(calls: Iterable[_Call], owners: set[str]) -> list[str]:
    return list(dict.fromkeys(call.path for call in calls if call.path in owners))


def _block(trace: _Trace, block: int, module: nn.Module, prefix: str, exceptions: Exceptions) -> BlockArchitecture:
    calls = trace.in_block(prefix)
    result = next(call.result for call in trace.calls if call.path == prefix[:-1])
    linear = [call for call in calls if is_linear(call.module)]
    times = Counter(call.path for call in linear)
    prunable = [call for call in linear if times[call.path] == 1 and _reads_tokens(call)]
    groups: dict[int, list[str]] = defaultdict(list)
    for call in prunable:
        groups[id(call.read)].append(call.path.removeprefix(prefix))
    listed = {layer for group in groups.values() for layer in group}
    transposed = {is_transposed(module.get_submodule(layer)) for layer in listed}
    if len(transposed) > 1:
        raise ModelError("a block has linear layers that store their weights in two ways", block=block)
    attention, feed_forward = _parts(prunable, block, prefix)
    return BlockArchitecture(
        inputs=tuple(map(tuple, groups.values())),
        attention=attention,
        feed_forward=feed_forward,
        activation=_activation(calls, feed_forward, block, prefix),
        heads=_head_layout(calls, attention, module, block, prefix, exceptions),
        transposed=transposed == {True},
        n_returned=len(result) if isinstance(result, tuple | list) else None,
        experts=_experts(calls, module, prefix),
        dense=tuple(
            _dense_parameters(
                module,
                listed,
                ran={call.path.removeprefix(prefix): call for call in linear},
                times=times,
                prefix=prefix,
            )
        ),
    )


def _experts(calls: Sequence[_Call], module: nn.Module, prefix: str) -> Experts | None:
    """Return the experts of a block; None if it has none.

    Raises:
        ModelError: it has several sets of experts.
    """
    found = [call for call in calls if is_stack(call.module)]
    if len(found) > 1:
        raise ModelError("a block has several sets of experts", got=[call.path for call in found])
    for call in found:
        path = call.path.removeprefix(prefix)
        n_experts = sum(1 for name, _ in call.module.named_children() if name.isdigit())
        earlier = calls[: calls.index(call)]
        routers = [
            one.path.removeprefix(prefix)
            for one in earlier
            if (weight := one.module._parameters.get("weight")) is not None and weight.shape[0] == n_experts
        ]
        return Experts(path, stack_names(call.module), n_experts, call.n_chosen, routers[-1] if routers else None)
    return None


def _reads_tokens(call: _Call) -> bool:
    """Whether the rows that a linear layer reads are the tokens of the texts."""
    return call.read is not None and call.read.numel() == N_TEXTS * N_TOKENS * call.read.shape[-1]


def _parts(linear: Sequence[_Call], block: int, prefix: str) -> tuple[Part | None, Part | None]:
    """Return attention and the feed-forward part of a block, each if exactly one layer reads the outputs of its units."""
    attention, feed_forward = [], []
    for call in linear:
        sources = call.sources - {_ATTENTION, _MIXING}
        if not sources or any(source != block or layer == HIDDEN for source, layer in sources):
            continue
        before = tuple(
            other.path.removeprefix(prefix) for other in linear if (block, other.path.removeprefix(prefix)) in sources
        )
        part = Part(before, call.path.removeprefix(prefix))
        if _ATTENTION in call.sources:
            attention.append(part)
        elif _MIXING not in call.sources:
            feed_forward.append(part)
    return (attention[0] if len(attention) == 1 else None), (feed_forward[0] if len(feed_forward) == 1 else None)


def _activation(calls: Sequence[_Call], feed_forward: Part | None, block: int, prefix: str) -> str | None:
    """Return the module without parameters that runs first on the outputs of the layers before the neurons."""
    if feed_forward is None:
        return None
    before = {(block, layer) for layer in feed_forward.before}
    for call in calls:
        is_function = next(call.module.children(), None) is None and not list(call.module.parameters())
        if (
            is_function
            and call.sources
            and call.sources <= before
            and not isinstance(call.module, nn.Dropout | nn.Identity)
        ):
            return call.path.removeprefix(prefix)
    return None


def _head_layout(
    calls: Sequence[_Call], attention: Part | None, module: nn.Module, block: int, prefix: str, exceptions: Exceptions
) -> HeadLayout:
    if attention is None:
        return "unknown"
    if exceptions.heads is not None:
        return exceptions.heads
    if len(attention.before) != 3:
        return "unknown"
    n_rows = {layer: module.get_submodule(layer).get_parameter("weight").shape[0] for layer in attention.before}
    for call in calls:
        if len(call.sources) == 1 and not is_linear(call.module):
            ((source, layer),) = call.sources
            width = max(
                (parameter.numel() for parameter in call.module._parameters.values() if parameter is not None),
                default=0,
            )
            if source == block and width == n_rows.get(layer) == max(n_rows.values()):  # a key head can be the only one
                return "joined"
    return "blocked"


def _dense_parameters(
    module: nn.Module, listed: set[str], *, ran: Mapping[str, _Call], times: Mapping[str, int], prefix: str
) -> Iterator[DenseParameter]:
    for name, parameter in module.named_parameters():
        owner = name.rpartition(".")[0]
        if parameter.dim() < 2 or (owner in listed and name.endswith(".weight")):
            continue
        kind = module.get_submodule(owner)
        if not is_linear(kind):
            reason = f"belongs to {type(kind).__name__}, which is no linear layer"
        elif owner not in ran:
            reason = "a linear layer that the block does not call for text"
        elif times[prefix + owner] > 1:
            reason = "a linear layer that runs more than once in a block"
        else:
            reason = "a linear layer whose rows are not the tokens of the texts"
        yield DenseParameter(name, tuple(parameter.shape), reason)


def _neurons_key(config: PretrainedConfig, kinds: Sequence[BlockArchitecture]) -> str | None:
    if all(kind.feed_forward is None for kind in kinds):
        return None
    return next((key for key in NEURON_KEYS if _has(config, key)), None)


def _has(config: PretrainedConfig, key: str) -> bool:
    """Whether the class of a config has a key, with one value for all blocks. Files contain keys that no code reads."""
    try:
        return key in type(config).__dataclass_fields__ and hasattr(config, key)
    except RuntimeError:  # the value differs between blocks
        return False


_LOCK = Lock()
"""Building a model changes functions of torch for a moment."""


def discover_config(settings: dict[str, Any]) -> Architecture:
    """Discover the architecture of the model that a config describes.

    Raises:
        ModelError: as `discover`.
        Exception: any error of the model's code.
    """
    config = AutoConfig.for_model(**settings)
    chosen_here = {"attn_implementation": None, "experts_implementation": None}
    with _LOCK, FakeTensorMode(allow_non_fake_inputs=True):
        with no_init_weights():
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **chosen_here).eval()
        stored = stored_forms(model)
        split_experts(model)
        return with_stored_forms(discover(model), stored)
