"""Experts as ordinary layers: each expert of a mixture has two linear layers that read the tokens routed to it.

The model library keeps the weights of all experts of a block in stacks, bare parameters that no hook on a layer sees.
`split_experts` replaces each stack by one linear layer per expert. So the layer `mlp.experts.3.down_proj` is a layer
like any other: observed, scored, masked and exported. Which tokens an expert gets is what the model's own router
returned; the products and their order are those of the library's loop over experts.

On accelerators with such a kernel, all experts of a block are multiplied in one product per layer, unless a listener
wants the inputs or outputs of single experts. Their weights are then slices of one tensor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional

from mlprune.errors import ModelError

_MARKS = ("has_gate", "has_bias", "is_transposed", "is_concatenated", "_apply_gate")
"""Attributes of the library's modules of experts."""

MAX_EXPERTS = 1 << 15
"""Largest number of experts in all blocks: 126 blocks with 256 of them. Each is two layers, which take 0.2 ms to
build; the largest published models have about 24,000."""

RoutingListener = Callable[[int, Tensor, Tensor, Tensor], None]
"""Called with (expert, rows, gate weights, outputs) for every expert with tokens, in order. Rows are [n] int64, places
of tokens in the batch; outputs [n, d] are those of the expert before they are multiplied by the gate weights [n]."""
Product = Callable[[Tensor], Tensor]
"""Multiplies inputs [n, in] with the weights of a layer."""


class _Thread(threading.local):
    """What the thread that runs a block knows of the expert that is running."""

    rows: Tensor | None = None
    listener: RoutingListener | None = None
    one_by_one: bool = False
    """Whether the inputs of single experts are observed."""


_THREAD = _Thread()


def routed_rows() -> Tensor | None:
    """Return the rows of the tokens that the running expert reads, [n] int64; None outside of experts."""
    return _THREAD.rows


@contextmanager
def listening_to_routes(listener: RoutingListener | None) -> Iterator[None]:
    """Call a listener for every expert that this thread runs inside the context."""
    before, _THREAD.listener = _THREAD.listener, listener
    try:
        yield
    finally:
        _THREAD.listener = before


@contextmanager
def one_by_one() -> Iterator[None]:
    """Let this thread run one expert after the other inside the context, so that hooks see their inputs."""
    before, _THREAD.one_by_one = _THREAD.one_by_one, True
    try:
        yield
    finally:
        _THREAD.one_by_one = before


class Expert(nn.Module):
    """The layers of one expert."""

    def forward(self, hidden: Tensor, experts: Any) -> Tensor:
        """Return the outputs [n, d] for tokens [n, d], not yet multiplied by their gate weights.

        Args:
            experts: the module of the experts, with what they share.
        """
        first, last = (self.get_submodule(name) for name in stack_names(experts))
        return _outputs(experts, hidden, first, last)


def _outputs(experts: Any, hidden: Tensor, first: Product, last: Product) -> Tensor:
    """Return the outputs [n, d] for tokens [n, d], not yet multiplied by their gate weights."""
    features = experts._apply_gate(first(hidden)) if experts.has_gate else experts.act_fn(first(hidden))
    outputs = last(features)
    return experts.post_expert_norm(outputs) if experts.has_post_expert_norm else outputs


def is_stack(module: nn.Module) -> bool:
    """Whether a module is one of the library's modules of experts."""
    return all(hasattr(module, name) for name in _MARKS)


def stack_names(module: Any) -> tuple[str, str]:
    """Return the names of the two stacks of a module of experts, which are also those of the layers of an expert."""
    return ("gate_up_proj" if module.has_gate else "up_proj"), "down_proj"


def split_experts(model: nn.Module, *, most_each: int | None = None) -> None:
    """Replace the stacks of experts in a model without weights by linear layers, one per expert and stack.

    Args:
        most_each: make only the first experts of each stack; `n_experts` of its module is the number of all.
    Raises:
        ModelError: the model has too many experts.
    """
    require_few_experts(model)
    for module in [module for module in model.modules() if is_stack(module)]:
        _split(module, most_each)


def require_few_experts(model: nn.Module) -> None:
    """Check the number of experts of a model, before they are split.

    Raises:
        ModelError: they are too many.
    """
    numbers = [getattr(module, stack_names(module)[0]).shape[0] for module in model.modules() if is_stack(module)]
    if sum(numbers) > MAX_EXPERTS:
        got = f"{sum(numbers):,} in {len(numbers):,} blocks"
        raise ModelError("the model has too many experts", expected=f"at most {MAX_EXPERTS:,} in all blocks", got=got)


def _split(module: Any, most: int | None) -> None:
    names = stack_names(module)
    shapes = {name: getattr(module, name) for name in names}
    biases = {name: module._parameters.pop(f"{name}_bias", None) for name in names}
    vars(module)["n_experts"] = shapes[names[0]].shape[0]
    n_experts = module.n_experts if most is None else min(most, module.n_experts)
    for name in names:
        del module._parameters[name]
    for number in range(n_experts):
        expert = Expert()
        for name, stack in shapes.items():
            expert.add_module(name, _linear(stack, biases[name], transposed=module.is_transposed))
        module.add_module(str(number), expert)
    vars(module)["removed"] = frozenset[int]()
    vars(module)["stacks"] = dict[str, Tensor]()
    vars(module)["stream"] = None
    vars(module)["forward"] = partial(run_experts, module, n_experts)


def _linear(stack: Tensor, bias: Tensor | None, *, transposed: bool) -> nn.Linear:
    """Return a linear layer without values, of the shape of one matrix of a stack."""
    n_out, n_in = reversed(stack.shape[1:]) if transposed else stack.shape[1:]
    layer = nn.Linear(1, 1, bias=bias is not None, device="meta")
    layer.in_features, layer.out_features = n_in, n_out
    layer.weight = nn.Parameter(stack.new_empty((n_out, n_in)), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.new_empty(n_out), requires_grad=False)
    return layer


def stacked_weight(model: nn.Module, name: str, value: Tensor, device: torch.device) -> Tensor | None:
    """Copy the weight of an expert to its slice of a tensor with those of all experts, for grouped products.

    Args:
        name: of the parameter in the model.
        value: [out, in], in the dtype in which the model runs.
    Returns: the slice; None for another parameter, or the device has no grouped products.
    """
    path, _, leaf = name.rpartition(".")
    path, _, layer = path.rpartition(".")
    path, _, number = path.rpartition(".")
    module: Any = model.get_submodule(path) if leaf == "weight" and number.isdigit() else None
    if module is None or "stacks" not in vars(module) or not has_grouped_products(device, value):
        return None
    stacks: dict[str, Tensor] = module.stacks
    if layer not in stacks:
        n_experts = sum(isinstance(child, Expert) for child in module.children())
        stacks[layer] = torch.empty(n_experts, *value.shape, dtype=value.dtype, device=device)
    return stacks[layer][int(number)].copy_(value)


def has_grouped_products(device: torch.device, weight: Tensor) -> bool:
    """Whether a device multiplies the weights [out, in] of many experts in one kernel.

    The kernel of torch wants bfloat16, Ampere or later, and rows of a multiple of 16 bytes. Elsewhere torch loops over
    the experts, and the host waits.
    """
    return (
        device.type == "cuda"
        and torch.version.hip is None
        and hasattr(functional, "grouped_mm")
        and weight.dtype == torch.bfloat16
        and all(n * weight.element_size() % 16 == 0 for n in weight.shape)
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def run_experts(module: Any, n_experts: int, hidden: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Replace the forward of a module of experts.

    Args:
        module: the experts.
        n_experts: their number.
        hidden: [t, d].
        top_k_index: [t, k] int64, the experts of each token.
        top_k_weights: [t, k], their gate weights.
    Returns: [t, d], sums over the experts of each token, added in the order of the experts.
    Raises:
        ModelError: the router chose an expert that is removed; see `removed_experts.py`.
    """
    if isinstance(hidden, FakeTensor):  # routes have no values: every expert reads all tokens
        experts: Mapping[str, nn.Module] = module._modules
        return sum((experts[str(number)](hidden.clone(), module) for number in range(n_experts)), hidden * 0)
    is_observed = _THREAD.one_by_one or _THREAD.listener is not None or torch.is_grad_enabled()
    if is_observed or len(module.stacks) < len(stack_names(module)):
        return _run_one_by_one(module, n_experts, hidden, top_k_index, top_k_weights)
    return _run_together(module, n_experts, hidden, top_k_index, top_k_weights)


def _run_one_by_one(module: Any, n_experts: int, hidden: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    experts: Mapping[str, nn.Module] = module._modules
    chosen = top_k_index.flatten()
    order = torch.argsort(chosen, stable=True)
    every = torch.arange(n_experts, device=chosen.device)
    bounds = torch.searchsorted(chosen[order], every, right=True).tolist()  # the host waits once for all experts
    rows, gates = order // top_k_index.shape[1], top_k_weights.flatten()[order]
    result, start, listener = torch.zeros_like(hidden), 0, _THREAD.listener
    try:
        for number, end in enumerate(bounds):
            if end > start:
                own_rows, own_gates = rows[start:end], gates[start:end]
                if number in module.removed and bool((own_gates > 0).any()):
                    raise ModelError("the router of a block chose a removed expert", expert=number)
                _THREAD.rows = own_rows
                with _in_memory(module, number):
                    outputs = experts[str(number)](hidden[own_rows], module)
                if listener is not None:
                    listener(number, own_rows, own_gates, outputs)
                result.index_add_(0, own_rows, (outputs * own_gates[:, None]).to(result.dtype))
            start = end
    finally:
        _THREAD.rows = None
    return result


def _in_memory(module: Any, expert: int) -> AbstractContextManager[None]:
    """Keep an expert in memory while it runs, if it is read from disk; see `placement/expert_stream.py`."""
    return nullcontext() if module.stream is None else module.stream.running(expert)


def _run_together(module: Any, n_experts: int, hidden: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Run all experts in one product per layer; the host does not wait, unless experts are removed."""
    if module.removed:
        removed = torch.isin(top_k_index, torch.tensor(sorted(module.removed), device=top_k_index.device))
        if bool((removed & (top_k_weights > 0)).any()):
            raise ModelError("the router of a block chose a removed expert", expert=sorted(module.removed))
    of_token, places = top_k_index.sort(dim=1)
    chosen, order = of_token.flatten().sort(stable=True)
    ends = torch.searchsorted(chosen, torch.arange(n_experts, device=chosen.device), right=True).to(torch.int32)

    def product(layer: str) -> Product:
        weights = module.stacks[layer].transpose(1, 2)
        biases = _stacked_biases([module.get_submodule(f"{number}.{layer}") for number in range(n_experts)])

        def multiply(inputs: Tensor) -> Tensor:
            products: Tensor = functional.grouped_mm(inputs, weights, offs=ends)
            return products if biases is None else products + biases[chosen]

        return multiply

    outputs = _outputs(module, hidden[order // top_k_index.shape[1]], *map(product, stack_names(module)))
    gates = top_k_weights.gather(1, places).flatten()[order]
    weighted = (outputs * gates[:, None]).to(hidden.dtype)
    by_token = torch.empty_like(weighted).index_copy_(0, order, weighted).view(*top_k_index.shape, -1)
    result = torch.zeros_like(hidden)
    for place in range(top_k_index.shape[1]):
        result += by_token[:, place]
    return result


def _stacked_biases(layers: Sequence[nn.Module]) -> Tensor | None:
    """Return the biases of the same layer of all experts, [experts, out]; None if no expert has one."""
    biases = [layer._parameters["bias"] for layer in layers]
    shape = next((bias for bias in biases if bias is not None), None)
    return None if shape is None else torch.stack([torch.zeros_like(shape) if one is None else one for one in biases])
