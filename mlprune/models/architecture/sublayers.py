"""Sub-layers of a block: find them in a run of the model.

A layer reads the hidden states of the block, or outputs of other layers alone. Layers of the second kind belong to the
same group as the layers that they read. A group with an operation over several tokens is part of the mixer; the group
of the neurons or of the experts, and groups that read the same hidden states (shared experts, gates), are the
feed-forward sub-layer. What else a block adds to its hidden states, such as an input of its own, is no sub-layer.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from mlprune.models.architecture.architecture import Experts, Part, SubLayer
from mlprune.models.architecture.trace import ATTENTION, HIDDEN, OPERATIONS, TOKENS, Call, is_linear
from mlprune.vocabulary import SubLayerKind

_EXPERTS = "experts"
"""Stands for the layers of all experts of a block, which are one group."""


@dataclass
class _Group:
    """Layers of a block that read outputs of each other."""

    layers: set[str] = field(default_factory=set)
    """Relative to the block; `_EXPERTS` for those of experts."""
    entry: set[str] = field(default_factory=set)
    """The layers whose outputs are in the hidden states that it reads."""
    inner: set[str] = field(default_factory=set)
    """Those of its layers that another one of it reads."""
    mixes_tokens: bool = False

    def merge(self, other: "_Group") -> None:
        """Add the layers of another group."""
        self.layers |= other.layers
        self.entry |= other.entry
        self.inner |= other.inner
        self.mixes_tokens |= other.mixes_tokens


def sublayers_of(
    calls: Sequence[Call], prefix: str, *, layers: Sequence[str], feed_forward: Part | None, experts: Experts | None
) -> tuple[SubLayer, ...]:
    """Return the sub-layers of a block that zeros in their last layers remove exactly, in the order of their run.

    Args:
        calls: all modules that ran in the block.
        prefix: path of the block, with a dot.
        layers: the prunable layers of the block, in the order of their run.
        feed_forward: its feed-forward part, if it was found.
    """
    main = _EXPERTS if experts is not None else None if feed_forward is None else feed_forward.after
    found: list[tuple[SubLayer, set[str]]] = []
    for kind, group in _members(_groups(calls, prefix, experts), main).items():
        last = group.layers - group.inner - ({experts.router} if experts is not None else set())
        own = tuple(layer for layer in layers if _named(layer, experts) in group.layers)
        outputs = tuple(layer for layer in own if _named(layer, experts) in last and not _is_first(layer, experts))
        is_zero = last == {_named(layer, experts) for layer in outputs} and not _adds_bias(calls, prefix, outputs)
        if outputs and is_zero:
            found.append((SubLayer(kind, own, outputs), group.entry))
    found.sort(key=lambda pair: layers.index(pair[0].layers[0]))
    earlier = {_named(layer, experts) for sublayer, _ in found[:1] for layer in sublayer.outputs}
    return tuple(
        replace(sublayer, reads_earlier=bool(number and entry & earlier))
        for number, (sublayer, entry) in enumerate(found)
    )


def only_adds(whole: Call, sublayers: Sequence[SubLayer], *, experts: Experts | None) -> bool:
    """Whether a block returns the hidden states that it reads plus the outputs of its sub-layers, and nothing else.

    Args:
        whole: the call of the block.
    """
    if whole.added is None:
        return False
    router = None if experts is None else experts.router
    known = {_named(layer, experts) for sublayer in sublayers for layer in sublayer.layers} | {router}
    return {_named(layer, experts) for _, layer in whole.added} <= known


def _groups(calls: Sequence[Call], prefix: str, experts: Experts | None) -> list[_Group]:
    """Return the groups of all linear layers that ran, in the order of their first layers."""
    groups: list[_Group] = []
    for call in calls:
        if not is_linear(call.module):
            continue
        layer = _named(call.path.removeprefix(prefix), experts)
        read = {_named(source, experts) for _, source in call.sources - OPERATIONS}
        is_inner = HIDDEN not in read
        own = _Group({layer}, set() if is_inner else read, mixes_tokens=ATTENTION in call.sources)
        if is_inner:
            own.inner = read - {layer}
            own.mixes_tokens |= TOKENS in call.sources
        joined = [group for group in groups if group.layers & (own.layers | own.inner)]
        for group in joined[1:] if joined else ():
            joined[0].merge(group)
            groups.remove(group)
        if joined:
            joined[0].merge(own)
        else:
            groups.append(own)
    return groups


def _members(groups: Sequence[_Group], main: str | None) -> dict[SubLayerKind, _Group]:
    """Return the groups of each sub-layer as one.

    Args:
        main: a layer of the neurons, or `_EXPERTS`; None: the first group of several layers that mixes no tokens.
    """
    mixers = [group for group in groups if group.mixes_tokens and main not in group.layers]
    others = [group for group in groups if group not in mixers]
    neurons = [group for group in others if (group.inner if main is None else main in group.layers)][:1]
    members: dict[SubLayerKind, _Group] = {}
    of_kinds: tuple[tuple[SubLayerKind, list[_Group]], ...] = (("feed_forward", neurons), ("attention", mixers))
    for kind, first in of_kinds:
        beside = [group for group in others if any(group.entry == one.entry for one in first)]
        others = [group for group in others if group not in beside]
        for group in [*first, *(one for one in beside if one not in first)]:
            members.setdefault(kind, _Group()).merge(group)
    return members


def _adds_bias(calls: Sequence[Call], prefix: str, outputs: Collection[str]) -> bool:
    """Whether a module with a bias, such as a norm, runs on outputs before they are added to the hidden states."""
    for call in calls:
        read = {layer for _, layer in call.sources - OPERATIONS}
        has_bias = call.module._parameters.get("bias") is not None and not is_linear(call.module)
        if has_bias and HIDDEN not in read and read & set(outputs):
            return True
    return False


def _named(layer: str, experts: Experts | None) -> str:
    return _EXPERTS if experts is not None and experts.has(layer) else layer


def _is_first(layer: str, experts: Experts | None) -> bool:
    """Whether a layer of an expert reads its tokens, so that another one gives its outputs."""
    return experts is not None and experts.has(layer) and layer.endswith(f".{experts.names[0]}")
