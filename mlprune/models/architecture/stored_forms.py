"""In which form checkpoints store the parameters of a model: under other names, or one tensor per expert.

The model library knows how it converts the tensors of a published checkpoint on loading. The reverse of this
conversion, applied to each parameter without values, gives the names of the tensors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import PrefixChange, revert_weight_conversion

from mlprune.models.architecture.architecture import Architecture, BlockArchitecture, StoredPart
from mlprune.models.experts import is_stack, stack_names

_NUMBER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class StoredForms:
    """How checkpoints store the parameters of a model before its experts are split."""

    names: Mapping[str, tuple[str, ...]]
    """Parameter -> names of its tensors, if they differ from it."""
    stacks: Mapping[str, tuple[int, bool]]
    """Stack of experts, or of their biases -> number of experts, and whether its matrices are transposed."""


def stored_forms(model: PreTrainedModel) -> StoredForms:
    """Find how checkpoints store the parameters of a model."""
    conversions = get_model_conversion_mapping(model, add_legacy=False)
    model._weight_conversions = [one for one in conversions if not isinstance(one, PrefixChange)]
    names = {}
    tensors = [(name, parameter.data) for name, parameter in model.named_parameters(remove_duplicate=False)]
    for name, tensor in (*tensors, *persistent_buffers(model)):
        stored = _reverted(model, name, tensor)
        if stored != (name,):
            names[name] = stored
    return StoredForms(names, dict(_stacks(model)))


def persistent_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return name and values of the buffers that checkpoints store."""
    return [
        (f"{path}.{name}" if path else name, buffer)
        for path, module in model.named_modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and name not in module._non_persistent_buffers_set
    ]


def _reverted(model: PreTrainedModel, name: str, value: Tensor) -> tuple[str, ...]:
    if not model._weight_conversions:
        return (name,)
    try:
        return tuple(revert_weight_conversion(model, {name: value}))
    except Exception:  # noqa: BLE001 - a conversion of several parameters together: its own name is the only one known
        return (name,)


def _stacks(model: nn.Module) -> list[tuple[str, tuple[int, bool]]]:
    found: list[tuple[str, tuple[int, bool]]] = []
    for path, module in model.named_modules():
        if is_stack(module):
            for name in stack_names(module):
                form = getattr(module, name).shape[0], bool(module.is_transposed)
                found.append((f"{path}.{name}", form))
                if f"{name}_bias" in module._parameters:
                    found.append((f"{path}.{name}_bias", (form[0], False)))
    return found


def with_stored_forms(architecture: Architecture, forms: StoredForms) -> Architecture:
    """Return an architecture with the forms in which checkpoints store its parameters."""
    first_of_kind = map(architecture.kind_of_block.index, range(len(architecture.kinds)))
    kinds = tuple(
        _with_forms(kind, f"{architecture.blocks}.{block}.", forms)
        for kind, block in zip(architecture.kinds, first_of_kind, strict=True)
    )
    outside = tuple(
        (name, stored[0])
        for name, stored in forms.names.items()
        if not architecture.is_in_blocks(name) and len(stored) == 1
    )
    return replace(architecture, kinds=kinds, renamed=(*outside, *architecture.renamed))


def _with_forms(kind: BlockArchitecture, prefix: str, forms: StoredForms) -> BlockArchitecture:
    stored: list[tuple[str, tuple[tuple[StoredPart, ...], ...]]] = []
    for name, (n_experts, transposed) in forms.stacks.items():
        if name.startswith(prefix):
            path, _, leaf = name.removeprefix(prefix).rpartition(".")
            layer, end = (leaf.removesuffix("_bias"), "bias") if leaf.endswith("_bias") else (leaf, "weight")
            tensors = [tensor.removeprefix(prefix) for tensor in forms.names.get(name, (name,))]
            for expert in range(n_experts):
                ways = [_parts_of_expert(tensors, expert, n_experts=n_experts, transposed=transposed)]
                ways.append((StoredPart(name.removeprefix(prefix), expert, transposed),))
                stored.append((f"{path}.{expert}.{layer}.{end}", tuple(dict.fromkeys(ways))))
    for name, tensors_of in forms.names.items():
        if name.startswith(prefix) and name not in forms.stacks:
            way = tuple(StoredPart(tensor.removeprefix(prefix)) for tensor in tensors_of)
            stored.append((name.removeprefix(prefix), (way,)))
    return replace(kind, stored=tuple(stored))


def _parts_of_expert(tensors: list[str], expert: int, *, n_experts: int, transposed: bool) -> tuple[StoredPart, ...]:
    """Return the tensors of one expert, or its place in a stack of another name."""
    if len(tensors) < n_experts:
        return tuple(StoredPart(tensor, expert, transposed) for tensor in tensors)
    own = [tensor for tensor in tensors if _NUMBER.findall(f".{tensor}")[-1:] == [str(expert)]]
    return tuple(StoredPart(tensor) for tensor in own)
