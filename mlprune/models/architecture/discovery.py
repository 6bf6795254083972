"""Discover the architecture of a causal language model: run its own code once, without weights.

The model is built and run under `FakeTensorMode`: tensors have shapes and no values, so that a model of 70 billion
weights takes seconds and little memory. The recorded calls (`trace.py`) show the projections of attention, the layers
before the neurons and everything that a block hands to a later block, whatever the model's code calls them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from threading import Lock
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
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
from mlprune.models.architecture.sublayers import only_adds, sublayers_of
from mlprune.models.architecture.trace import (
    ATTENTION,
    HIDDEN,
    MIXING,
    N_TEXTS,
    N_TOKENS,
    NORMED,
    OPERATIONS,
    Call,
    Trace,
    is_linear,
    is_transposed,
    run_once,
    storage_of,
)
from mlprune.models.architecture.traced_experts import TRACED_EXPERTS, experts_of, with_all_experts
from mlprune.models.experts import is_stack, require_few_experts, split_experts
from mlprune.models.scaled_experts import prepare_scaled_experts

NEURON_KEYS = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "block_ff_dim")
"""Keys of configs for the number of feed-forward neurons."""
HEAD_WIDTH_KEY = "head_dim"
CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""Names of the parameter of a forward that takes the cache."""
STATES = "state"
"""Name of the parameter of a forward that takes the states of recurrent blocks without a cache."""
BIDIRECTIONAL: Mapping[str, tuple[object, ...]] = {
    "is_causal": (False,),
    "use_bidirectional_attention": (True, "all"),
}
"""Key of a config -> values with which tokens read later ones."""
EXPERTS = "Experts"
"""End of the names of the classes that contain the weights of several experts."""
_LOCK = Lock()
"""Building a model changes functions of torch for a moment."""


def discover(model: PreTrainedModel) -> Architecture:
    """Discover the architecture of a model that was built under `FakeTensorMode`, which is active.

    Raises:
        ModelError: the model is not a chain of blocks between an embedding and a linear head.
    """
    name = str(model.config.model_type)
    head = _head_of(model)
    blocks = _block_list(model)
    modules = list(model.get_submodule(blocks).children())
    _refuse_bidirectional(model.config, modules)
    _refuse_experts(name, modules)
    _refuse_shared_parameters(name, model, blocks)
    trace = run_once(model, blocks, n_blocks=len(modules))
    exceptions = EXCEPTIONS.get(name, Exceptions())
    base = _base_of(model, blocks)
    recurrent = _recurrent_blocks(model, len(modules), base=model.get_submodule(base))
    found = [
        replace(_block(trace, block, module, f"{blocks}.{block}", exceptions), is_recurrent=block in recurrent)
        for block, module in enumerate(modules)
    ]
    kinds = tuple(dict.fromkeys(found))
    if not any(kind.layers for kind in kinds):
        raise ModelError("no linear layer in the blocks reads the tokens of the texts alone", model_type=name)
    embeddings, tail = _around(trace, model, blocks=blocks, head=head)
    scale, cap = logit_transform(model, base=base, tail=tail, head=head)
    return Architecture(
        name=name,
        blocks=blocks,
        embeddings=embeddings,
        tail=tail,
        head=head,
        kinds=kinds,
        kind_of_block=tuple(map(kinds.index, found)),
        base=base,
        has_cache=_has_cache(model.get_submodule(base)) and not _keep_states(modules),
        logit_scale=scale,
        softcap=cap,
        head_width_key=exceptions.head_width_key or (HEAD_WIDTH_KEY if _has(model.config, HEAD_WIDTH_KEY) else None),
        neurons_key=_neurons_key(model.config, kinds),
        head_attributes=exceptions.head_attributes,
        alibi=exceptions.alibi,
    )


def _head_of(model: PreTrainedModel) -> str:
    head = model.get_output_embeddings()
    name: str | None = next((name for name, module in model.named_modules() if module is head), None)
    if name is None or not isinstance(head, nn.Linear):
        got = "none" if head is None else type(head).__name__
        message = "the model has no linear layer from its last hidden states to the vocabulary"
        raise ModelError(message, model_type=model.config.model_type, got=got)
    return name


def _block_list(model: PreTrainedModel) -> str:
    """Return the path of the list of modules with the most parameters; of equal ones the outermost."""
    lists: dict[str, int] = {
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


def _refuse_bidirectional(config: PretrainedConfig, modules: Sequence[nn.Module]) -> None:
    settings = {key: getattr(config, key, None) for key in BIDIRECTIONAL}
    wrong = {key: value for key, value in settings.items() if value in BIDIRECTIONAL[key]}
    causal = {getattr(part, "is_causal", None) for module in modules for part in module.modules()} - {None}
    wrong |= {"is_causal of attention": False} if causal == {False} else {}
    if wrong:
        message = "a token of the model reads the tokens after it, so that the model is not a decoder"
        raise ModelError(message, model_type=str(config.model_type), got=wrong)


def _refuse_experts(name: str, modules: Sequence[nn.Module]) -> None:
    for block, module in enumerate(modules):
        for path, inner in module.named_modules():
            if type(inner).__name__.endswith(EXPERTS) and not is_stack(inner):
                message = "the experts of the model have weights in a form that is not known"
                raise ModelError(message, model_type=name, expected="stacks of the library", block=block, got=path)


def _refuse_shared_parameters(name: str, model: PreTrainedModel, blocks: str) -> None:
    owners: dict[int, str] = {}
    shared = [*model.all_tied_weights_keys.items()]
    for parameter_name, parameter in model.named_parameters(remove_duplicate=False):
        shared.append((parameter_name, owners.setdefault(id(parameter), parameter_name)))
    for names in shared:
        if names[0] != names[1] and any(parameter_name.startswith(f"{blocks}.") for parameter_name in names):
            message = "blocks of the model share weights, so that one mask would change several of them"
            raise ModelError(message, model_type=name, expected="blocks with weights of their own", got=list(names))


def _recurrent_blocks(model: PreTrainedModel, n_blocks: int, *, base: nn.Module) -> set[int]:
    """Return the blocks whose cache has more than keys and values; all blocks of a base with states of its own form."""
    layers = [type(layer) for layer in DynamicCache(config=model.config).layers]
    plain = {block for block, layer in enumerate(layers) if layer in (DynamicLayer, DynamicSlidingWindowLayer)}
    recurrent = set(range(n_blocks)) - plain
    return recurrent or (set(range(n_blocks)) if _has_own_states(base) else set())


def _keep_states(modules: Sequence[nn.Module]) -> bool:
    """Whether blocks that have run keep a tensor with a row per text in their modules, and not in a cache."""
    parts = (part for module in modules for part in module.modules())
    kept = (value for part in parts for value in vars(part).values() if isinstance(value, Tensor))
    return any(value.shape[:1] == (N_TEXTS,) for value in kept)


def _has_own_states(base: nn.Module) -> bool:
    """Whether a base model takes states of earlier tokens, but not in the library's cache."""
    takes_states = not signature(base.forward).parameters.keys().isdisjoint((STATES, *CACHE_NAMES))
    return takes_states and not _has_cache(base)


def _has_cache(base: nn.Module) -> bool:
    """Whether a base model takes the library's cache of keys and values, and not one of its own or none."""
    parameters = signature(base.forward).parameters
    annotations = [str(parameters[name].annotation) for name in CACHE_NAMES if name in parameters]
    return any(re.search(r"\b(Dynamic)?Cache\b", annotation) for annotation in annotations)


def _around(trace: Trace, model: PreTrainedModel, *, blocks: str, head: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the modules with parameters of their own that run before the blocks, and those between blocks and head.

    Raises:
        ModelError: a module with parameters does not run, or a module after the blocks is not part of a chain.
    """
    owners = {path for path, module in model.named_modules() if module._parameters}
    inside = [index for index, call in enumerate(trace.calls) if call.path.startswith(f"{blocks}.")]
    before = [call.path for call in trace.calls[: inside[0]] if call.path in owners]
    ran = {call.path for call in trace.calls}
    idle = sorted(path for path in owners if not path.startswith(f"{blocks}.") and path not in ran)
    if idle:
        message = "the model has weights outside its blocks that it does not use for text"
        raise ModelError(message, model_type=model.config.model_type, got=idle)
    last = trace.of(f"{blocks}.{len(model.get_submodule(blocks)) - 1}").hidden
    tail = tuple(_tail(trace.calls[inside[-1] + 1 :], last, model, head=head))
    if set(tail) & set(before):
        message = "a module with weights runs before the blocks and after them"
        raise ModelError(message, model_type=model.config.model_type, got=sorted(set(tail) & set(before)))
    return tuple(dict.fromkeys(before)), tail


def _tail(calls: Sequence[Call], hidden: object, model: PreTrainedModel, *, head: str) -> Iterator[str]:
    """Yield the outermost modules between the last block and the head, each of which reads what the one before returns.

    Args:
        calls: all calls after the blocks.
        hidden: hidden states after the last block.
    Raises:
        ModelError: a module reads something else.
    """
    depth: int | None = None
    for call in calls:
        is_inner = depth is not None and call.depth > depth
        if call.path == head:
            return
        if is_inner or head.startswith(f"{call.path}.") or isinstance(call.module, nn.Dropout | nn.Identity):
            continue
        depth = call.depth
        if not isinstance(hidden, Tensor) or call.read is None or storage_of(call.read) != storage_of(hidden):
            message = "the modules between the last block and the head are not a chain"
            raise ModelError(message, model_type=model.config.model_type, got=call.path)
        hidden = call.hidden
        yield call.path


def _block(trace: Trace, block: int, module: nn.Module, path: str, exceptions: Exceptions) -> BlockArchitecture:
    calls, whole, prefix = trace.inside(path), trace.of(path), f"{path}."
    _refuse_idle_parts(module, prefix, ran={call.path for call in calls})
    linear = [call for call in calls if is_linear(call.module)]
    times = Counter(call.path for call in linear)
    experts = experts_of(calls, module, prefix)
    router = None if experts is None else f"{prefix}{experts.router}"
    prunable = [call for call in linear if times[call.path] == 1 and call.path != router and _reads_tokens(call)]
    groups: dict[int, list[str]] = defaultdict(list)
    for call in prunable:
        groups[id(call.read)].append(call.path.removeprefix(prefix))
    listed = {layer for group in groups.values() for layer in group}
    transposed = {is_transposed(module.get_submodule(layer)) for layer in listed}
    if len(transposed) > 1:
        raise ModelError("a block has linear layers that store their weights in two ways", block=block)
    attention, feed_forward = _parts(prunable, block, prefix, experts)
    inputs = tuple(with_all_experts([tuple(group) for group in groups.values()], experts))
    layers = tuple(layer for group in inputs for layer in group)
    sublayers = sublayers_of(calls, prefix, layers=layers, feed_forward=feed_forward, experts=experts)
    return BlockArchitecture(
        inputs=inputs,
        attention=attention,
        feed_forward=feed_forward,
        activation=_activation(calls, feed_forward, block, prefix),
        heads=exceptions.heads or _head_layout(calls, attention if whole.n_attentions == 1 else None, module, block),
        transposed=transposed == {True},
        n_returned=len(whole.result) if isinstance(whole.result, tuple | list) else None,
        experts=experts,
        sublayers=sublayers,
        only_adds=only_adds(whole, sublayers, experts=experts),
        dense=tuple(
            _dense_parameters(
                module,
                listed,
                ran={call.path.removeprefix(prefix): call for call in linear},
                times=times,
                prefix=prefix,
                router=router,
            )
        ),
    )


def _refuse_idle_parts(module: nn.Module, prefix: str, *, ran: Collection[str]) -> None:
    for name, part in module.named_children():
        has_weights = any(parameter.dim() > 1 for parameter in part.parameters())
        if has_weights and not any(path == f"{prefix}{name}" or path.startswith(f"{prefix}{name}.") for path in ran):
            message = "a part of a block does not run for text, such as cross attention to images"
            raise ModelError(message, got=f"{prefix}{name}")


def _reads_tokens(call: Call) -> bool:
    """Whether the rows that a linear layer reads are the tokens of the texts."""
    return call.read is not None and call.read.numel() == N_TEXTS * N_TOKENS * call.read.shape[-1]


def _parts(linear: Sequence[Call], block: int, prefix: str, experts: Experts | None) -> tuple[Part | None, Part | None]:
    """Return attention, if exactly one layer reads its outputs, and the feed-forward part with the most neurons."""
    attention, feed_forward = [], []
    for call in linear:
        sources = call.sources - OPERATIONS
        if not sources or any(source != block or layer == HIDDEN for source, layer in sources):
            continue
        layers = (other.path.removeprefix(prefix) for other in linear)
        groups = with_all_experts([(layer,) for layer in layers if (block, layer) in sources], experts)
        before = tuple(layer for (layer,) in groups)
        part = Part(before, call.path.removeprefix(prefix))
        if ATTENTION in call.sources:
            attention.append(part)
        elif MIXING not in call.sources and call.read is not None:
            feed_forward.append((call.read.shape[-1], part))
    largest = max((n_neurons for n_neurons, _ in feed_forward), default=0)
    widest = [part for n_neurons, part in feed_forward if n_neurons == largest]
    return (attention[0] if len(attention) == 1 else None), (widest[0] if len(widest) == 1 else None)


def _activation(calls: Sequence[Call], feed_forward: Part | None, block: int, prefix: str) -> str | None:
    """Return the module that runs first on the outputs of the layers before the neurons; its parameters are scalars."""
    if feed_forward is None:
        return None
    before = {(block, layer) for layer in feed_forward.before}
    for call in calls:
        is_function = next(call.module.children(), None) is None
        is_function &= all(parameter.numel() == 1 for parameter in call.module.parameters())
        if (
            is_function
            and call.sources
            and call.sources <= before
            and not isinstance(call.module, nn.Dropout | nn.Identity)
        ):
            return call.path.removeprefix(prefix)
    return None


def _head_layout(calls: Sequence[Call], attention: Part | None, module: nn.Module, block: int) -> HeadLayout:
    """Return the layout of three projections; that of a fused one cannot be seen.

    It is unknown if a norm over all heads follows attention, or if attention has parameters of its own: one per head.
    """
    if attention is None:
        return "unknown"
    rows = {layer: module.get_submodule(layer).get_parameter("weight").shape[0] for layer in attention.before}
    reader = next(call for call in calls if call.path.endswith(f".{attention.after}"))
    has_own_parameters = bool(module.get_submodule(attention.after.rpartition(".")[0])._parameters)
    if NORMED in reader.sources or has_own_parameters:
        return "unknown"
    n_inputs = module.get_submodule(attention.after).get_parameter("weight").shape[1]
    if len(rows) != 3 or list(rows.values()) != [n_inputs, *[min(rows.values())] * 2]:
        return "unknown"
    for call in calls:
        if len(call.sources) == 1 and not is_linear(call.module):
            ((source, layer),) = call.sources
            sizes = [parameter.numel() for parameter in call.module._parameters.values() if parameter is not None]
            if source == block and rows.get(layer) == n_inputs and n_inputs in sizes:  # a key head can be the only one
                return "joined"
    return "blocked"


def _dense_parameters(
    module: nn.Module,
    listed: set[str],
    *,
    ran: Mapping[str, Call],
    times: Mapping[str, int],
    prefix: str,
    router: str | None,
) -> Iterator[DenseParameter]:
    for name, parameter in module.named_parameters():
        owner = name.rpartition(".")[0]
        if parameter.dim() < 2 or (owner in listed and name.endswith(".weight")):
            continue
        kind = module.get_submodule(owner)
        if not is_linear(kind):
            reason = f"belongs to {type(kind).__name__}, which is not a linear layer"
        elif prefix + owner == router:
            reason = "the router of the experts"
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


def _keep(parameter: Tensor, converted: Tensor) -> None:
    """Stand in for a conversion of the dtype in a model's code, which fails for tensors without values."""


def import_model_code(model_type: str) -> None:
    """Import the library's code of a model type, so that a process that is forked later has it."""
    MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[model_type]]


def discover_config(settings: dict[str, Any]) -> Architecture:
    """Discover the architecture of the model that a config describes.

    Raises:
        ModelError: as `discover`.
        Exception: any error of the model's code.
    """
    config = CONFIG_MAPPING[settings["model_type"]].from_dict(PretrainedConfig._decode_special_floats(settings))
    chosen_here = {"attn_implementation": None, "experts_implementation": None}
    with _LOCK, FakeTensorMode(allow_non_fake_inputs=True):
        with no_init_weights(), patch.object(torch.utils, "swap_tensors", _keep):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **chosen_here).eval()
        require_few_experts(model)
        prepare_scaled_experts(model)
        forms = stored_forms(model)
        split_experts(model, most_each=TRACED_EXPERTS)
        return with_stored_forms(discover(model), forms)
