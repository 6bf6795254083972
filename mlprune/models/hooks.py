"""Hooks on the layers of blocks: what layers read and return, the activations of neurons, and layers that return 0."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError, statistics_context
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.models.experts import one_by_one, routed_rows
from mlprune.numeric.activations.accelerator_statistics import (
    submit_demonstration_sums,
    submit_routed_counts,
    submit_routed_sums,
)
from mlprune.numeric.activations.statistics import CountedTokens

ROUTED = "routed tokens"
"""Name among the inputs of a block of the counted tokens that reach each expert, [b, experts * groups]."""


class LayerHooks:
    """Pass the inputs of layers and the activations of neurons to listeners of the thread that runs a block.

    Layers that read the same input are observed at the first of them. The hooks stay on the modules and do nothing
    without a listener, so several threads may run the same block, some with a listener and some without.

    Args:
        blocks: each module with its architecture.
    """

    def __init__(self, blocks: Sequence[tuple[nn.Module, BlockArchitecture]]) -> None:
        self._thread = threading.local()
        self._blocks = blocks
        self._observes_outputs = False
        for module, kind in blocks:
            for name in kind.input_names:
                module.get_submodule(name).register_forward_pre_hook(partial(self._on_input, name), with_kwargs=True)
            if kind.activation is not None:
                module.get_submodule(kind.activation).register_forward_hook(self._on_neurons)
            for layer in (name for sublayer in kind.sublayers for name in sublayer.outputs):
                module.get_submodule(layer).register_forward_hook(partial(self._on_sublayer, layer))

    def observe_outputs(self) -> None:
        """Also observe the outputs of layers from now on. No thread may be running a block."""
        if self._observes_outputs:
            return
        for module, kind in self._blocks:
            for layer in kind.layers:
                module.get_submodule(layer).register_forward_hook(partial(self._on_output, layer))
        self._observes_outputs = True

    @contextmanager
    def listening(
        self,
        listener: Callable[[str, Tensor], None] | None = None,
        *,
        neurons: Callable[[Tensor], None] | None = None,
        outputs: Callable[[str, Tensor], None] | None = None,
    ) -> Iterator[None]:
        """Call listeners for everything that this thread runs inside the context.

        A listener may raise `BlockStop` to end the block and the context without an error.

        Args:
            listener: called with (input, [..., in]) for every input.
            neurons: called with [..., neurons], the activations of a block's feed-forward neurons.
            outputs: called with (layer, [..., out]) for every layer; see `observe_outputs`.
        """
        self._thread.listener, self._thread.neurons, self._thread.outputs = listener, neurons, outputs
        try:
            with one_by_one():
                yield
        except BlockStop:
            pass
        finally:
            self._thread.listener = self._thread.neurons = self._thread.outputs = None

    @contextmanager
    def silencing(self, layers: Collection[str]) -> Iterator[None]:
        """Let layers return zeros that give the outputs of sub-layers, in all that this thread runs inside the context.

        Args:
            layers: relative to the block.
        """
        self._thread.silenced = layers
        try:
            with one_by_one():
                yield
        finally:
            self._thread.silenced = ()

    def _on_input(self, name: str, _module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        listener = getattr(self._thread, "listener", None)
        if listener is not None:
            listener(name, args[0] if args else kwargs["input"])

    def _on_output(self, layer: str, _module: nn.Module, _args: tuple[Tensor, ...], result: Tensor) -> None:
        outputs = getattr(self._thread, "outputs", None)
        if outputs is not None:
            outputs(layer, result)

    def _on_sublayer(self, layer: str, _module: nn.Module, _args: tuple[Tensor, ...], result: Tensor) -> Tensor | None:
        return torch.zeros_like(result) if layer in getattr(self._thread, "silenced", ()) else None

    def _on_neurons(self, _module: nn.Module, _args: tuple[Tensor, ...], activations: Tensor) -> None:
        neurons = getattr(self._thread, "neurons", None)
        if neurons is not None:
            neurons(activations)


class BlockStop(BaseException):
    """Raised to end a block early. It is not an `Exception`, so that the code of a model does not catch it."""


class InputSums:
    """Listener that sums the squares of the inputs of a block's layers, for one run of the block.

    Args:
        block: architecture of the block.
        counted: the tokens of the batch that count.
        keeps_tokens: also keep the counted tokens of every input.
        stops: end the block after all inputs were observed, without the products of the last layers.
    """

    def __init__(
        self, block: BlockArchitecture, counted: CountedTokens, *, keeps_tokens: bool = False, stops: bool = False
    ) -> None:
        self._block = block
        self._counted = counted
        self._keeps_tokens = keeps_tokens
        self._stops = stops
        self._sums: dict[str, Tensor] = {}
        self._n_routed: dict[str, Tensor] = {}
        self.tokens: dict[str, list[Tensor]] = {}
        """input -> [counted tokens, in] of each demonstration, in the dtype of the model; empty unless kept."""
        self.routed: dict[str, Tensor] = {}
        """input of an expert -> [n] int64, the places of its tokens in the batch; empty unless tokens are kept."""

    def __call__(self, name: str, inputs: Tensor) -> None:
        """Add one input.

        Raises:
            StatisticsError: a counted activation on the CPU is not finite; the input is named.
            BlockStop: all inputs were observed, and the rest of the block is not needed.
        """
        rows = routed_rows()
        with statistics_context(input=name):
            if rows is None:
                inputs = inputs.reshape(*self._counted.mask.shape, -1)
                self._sums[name] = submit_demonstration_sums(inputs, self._counted)
            else:
                self._sums[name] = submit_routed_sums(inputs, rows, self._counted)
                if self._counted.groups is not None:
                    self._n_routed[name] = submit_routed_counts(rows, self._counted)
        if self._keeps_tokens:
            of_rows = self._counted.rows_of(inputs) if rows is None else self._counted.routed_rows_of(inputs, rows)
            self.tokens[name] = of_rows
            self.routed |= {} if rows is None else {name: rows}
        if self._stops and len(self._sums) == len(self._block.input_names):
            raise BlockStop

    def sums(self) -> dict[str, Tensor]:
        """Return input -> [b, in] float32 on the input's device, in the block's order; unchecked on an accelerator.

        Sums of an expert that got no token are zero. If the tokens have groups, `ROUTED` follows the inputs of a block
        with experts.

        Raises:
            ModelError: the block did not run a layer.
        """
        self._add_unused_experts()
        check_run(self._block.input_names, self._sums)
        return {name: self._sums[name] for name in self._block.input_names} | self._routed_counts()

    def _routed_counts(self) -> dict[str, Tensor]:
        """Return `ROUTED` of a block with experts, expert after expert; of other blocks nothing."""
        experts = self._block.experts
        if experts is None or not self._n_routed:
            return {}
        none = torch.zeros_like(next(iter(self._n_routed.values())))
        names = [experts.layers(expert)[0] for expert in range(experts.n_experts)]
        return {ROUTED: torch.cat([self._n_routed.get(name, none) for name in names], dim=1)}

    def _add_unused_experts(self) -> None:
        experts = self._block.experts
        if experts is None:
            return
        for position in range(2):
            names = [experts.layers(expert)[position] for expert in range(experts.n_experts)]
            used = next((self._sums[name] for name in names if name in self._sums), None)
            unused = [name for name in names if name not in self._sums]
            if used is not None:
                self._sums |= {name: torch.zeros_like(used) for name in unused}
                empty = [used.new_empty(0, used.shape[1]) for _ in range(used.shape[0])]
                self.tokens |= dict.fromkeys(unused, empty) if self._keeps_tokens else {}


def check_run(expected: Iterable[str], observed: Container[str]) -> None:
    """Check that a block ran all its layers.

    Args:
        expected: layers, or inputs of layers.
        observed: what a listener received.
    Raises:
        ModelError: the block did not run a layer.
    """
    missing = [name for name in expected if name not in observed]
    if missing:
        raise ModelError("a block did not run all its layers", missing=missing)
