"""In which form checkpoints store the parameters of a model: under other names, in pieces, or one tensor per expert.

The model library knows how it converts the tensors of a published checkpoint on loading. The reverse of this
conversion, applied to each parameter without values, gives the names of the tensors.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import BLOCK, Architecture, BlockArchitecture, StoredPart
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
    """Find how checkpoints store the parameters of a model.

    Raises:
        ModelError: checkpoints contain a parameter in a form that is not known.
    """
    stacks, state = dict(_stacks(model)), model.state_dict()
    names: dict[str, tuple[str, ...]] = {}
    of_stacks: dict[tuple[str, tuple[int, ...]], tuple[str, tuple[str, ...]]] = {}
    for name in stacks:
        stack = state.pop(name)
        number, key = _number_and_key(name, stack)
        if key not in of_stacks:
            of_stacks[key] = number, tuple(revert_weight_conversion(model, {name: stack}))
        names[name] = _renumbered(*of_stacks[key], number)
    published = {id(tensor): name for name, tensor in revert_weight_conversion(model, state).items()}
    known: dict[tuple[str, tuple[int, ...]], tuple[str, tuple[str, ...]]] = {}
    for name, tensor in state.items():
        if id(tensor) in published:
            names[name] = (published[id(tensor)],)
            continue
        number, key = _number_and_key(name, tensor)
        if key not in known:
            known[key] = number, _pieces(model, name, tensor.shape)
        names[name] = _renumbered(*known[key], number)
    _refuse_shared_tensors(model, names)
    return StoredForms({name: stored for name, stored in names.items() if stored != (name,)}, stacks)


def _number_and_key(name: str, tensor: Tensor) -> tuple[str, tuple[str, tuple[int, ...]]]:
    """Return the number of a parameter's block, and a key that it shares with those of blocks that are stored alike."""
    number = "".join(_NUMBER.findall(name)[:1])
    return number, (name.replace(f".{number}.", BLOCK, 1), tuple(tensor.shape))


def _renumbered(first: str, tensors: Sequence[str], number: str) -> tuple[str, ...]:
    """Return the names of the tensors of one block as those of another."""
    return tuple(tensor.replace(f".{first}.", f".{number}.", 1) for tensor in tensors)


def _refuse_shared_tensors(model: PreTrainedModel, names: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse checkpoints with several parameters in one tensor; parameters that are tied share theirs.

    Raises:
        ModelError: a tensor is the source of several parameters.
    """
    tied = {*model.all_tied_weights_keys, *model.all_tied_weights_keys.values()}
    users: dict[str, list[str]] = {}
    for name, stored in names.items():
        for tensor in stored if name not in tied else ():
            users.setdefault(tensor, []).append(name)
    tensor, shared = next(((tensor, of) for tensor, of in users.items() if len(of) > 1), ("", []))
    if shared:
        message = "checkpoints contain several layers in one tensor"
        raise ModelError(message, model_type=str(model.config.model_type), tensor=tensor, layers=shared)


def _pieces(model: PreTrainedModel, name: str, shape: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the tensors that a parameter joins along its first dimension.

    Raises:
        ModelError: the parameter contains its tensors in another form.
    """
    with unset_fake_temporarily():
        values = torch.arange(math.prod(shape), dtype=torch.float32).reshape(*shape)
        pieces = revert_weight_conversion(model, {name: values})
        is_joined = all(piece.shape[1:] == values.shape[1:] for piece in pieces.values())
        if not is_joined or not torch.equal(torch.cat(list(pieces.values())), values):
            message = "checkpoints contain a tensor in another form than the model"
            raise ModelError(message, model_type=str(model.config.model_type), expected=name, got=sorted(pieces))
    return tuple(pieces)


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
    kinds = list(architecture.kinds)
    for block, kind in enumerate(architecture.kind_of_block):  # blocks of a kind can differ in vectors, such as sinks
        kinds[kind] = _with_forms(kinds[kind], f"{architecture.blocks}.{block}.", forms, block=block)
    outside = tuple(
        (name, stored[0])
        for name, stored in forms.names.items()
        if not architecture.is_in_blocks(name) and len(stored) == 1
    )
    return replace(architecture, kinds=tuple(kinds), renamed=(*outside, *architecture.renamed))


def _with_forms(kind: BlockArchitecture, prefix: str, forms: StoredForms, *, block: int) -> BlockArchitecture:
    stored: list[tuple[str, tuple[tuple[StoredPart, ...], ...]]] = []
    number = f".{block}."
    for name, (n_experts, transposed) in forms.stacks.items():
        if name.startswith(prefix):
            path, _, leaf = name.removeprefix(prefix).rpartition(".")
            layer, end = (leaf.removesuffix("_bias"), "bias") if leaf.endswith("_bias") else (leaf, "weight")
            tensors = [tensor.replace(number, BLOCK, 1) for tensor in forms.names.get(name, (name,))]
            own = _tensors_of_experts(tensors) if len(tensors) >= n_experts else None
            for expert in range(n_experts):
                ways = [_parts_of_expert(tensors, expert, own, transposed=transposed)]
                ways.append((StoredPart(name.replace(number, BLOCK, 1), expert, transposed),))
                stored.append((f"{path}.{expert}.{layer}.{end}", tuple(dict.fromkeys(ways))))
    for name, tensors_of in forms.names.items():
        if name.startswith(prefix) and name not in forms.stacks:
            way = tuple(StoredPart(tensor.replace(number, BLOCK, 1)) for tensor in tensors_of)
            stored.append((name.removeprefix(prefix), (way,)))
    return replace(kind, stored=tuple(dict.fromkeys((*kind.stored, *stored))))


def _parts_of_expert(
    tensors: Sequence[str], expert: int, own: Mapping[str, Sequence[str]] | None, *, transposed: bool
) -> tuple[StoredPart, ...]:
    """Return the tensors of one expert, or its place in a stack of another name.

    Args:
        own: as `_tensors_of_experts` returns it; None if the tensors are stacks.
    """
    if own is None:
        return tuple(StoredPart(tensor, expert, transposed) for tensor in tensors)
    return tuple(StoredPart(tensor) for tensor in own.get(str(expert), ()))


def _tensors_of_experts(tensors: Sequence[str]) -> dict[str, list[str]]:
    """Return number of an expert -> its tensors: the last number in the name of a tensor is that of its expert."""
    own: dict[str, list[str]] = {}
    for tensor in tensors:
        for number in _NUMBER.findall(f".{tensor}")[-1:]:
            own.setdefault(number, []).append(tensor)
    return own
