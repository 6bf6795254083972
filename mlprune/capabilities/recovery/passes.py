"""Passes of whole texts through all blocks of a shard: final states, losses, and gradients of the weights of layers.

A text is a batch of its own, so nothing is padded and results depend on no batch size. The blocks run in the dtype of
the model. Only the states before every block are kept in a forward pass (gradient checkpointing by block); the
backward pass runs one block after the other again. As many texts run at a time as the process has threads. Gradients of
texts are added in float32 in the order of the texts, so results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.capabilities.recovery.losses import TextLosses, text_losses
from mlprune.capabilities.recovery.settings import Recovery
from mlprune.errors import ShapeError
from mlprune.models.architecture.architecture import oriented
from mlprune.models.gradients import RecordedLayers
from mlprune.models.inference.prefix_scoring import output_head
from mlprune.models.messages import HiddenStates
from mlprune.processes.parallel import parallel_map

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


@dataclass(frozen=True)
class Text:
    """A demonstration, on the CPU."""

    token_ids: Tensor
    """[1, t] int64."""
    positions: Tensor
    """[m] int64: positions whose next token counts, ascending."""

    @classmethod
    def of(cls, token_ids: Sequence[int], counted: Sequence[bool]) -> Text:
        """Return the text of a demonstration, with the flags of its tokens that count."""
        if len(token_ids) != len(counted):
            raise ShapeError("flags do not fit the tokens", expected=len(token_ids), got=len(counted))
        flags = torch.tensor(counted, dtype=torch.bool)
        return cls(torch.tensor(list(token_ids), dtype=torch.int64).unsqueeze(0), flags[1:].nonzero().flatten())

    @property
    def targets(self) -> Tensor:
        """[m] int64: the token after each position."""
        return self.token_ids[0, self.positions + 1]


@dataclass(frozen=True)
class _Forward:
    """What a forward pass of one text leaves for the backward pass."""

    losses: TextLosses
    before: tuple[HiddenStates, ...]
    """States before each block, with its call."""
    gradient: Tensor
    """[1, t, d], of the losses by the states after the last block."""


class Passes:
    """Passes of some texts through all blocks with their current weights.

    Args:
        runner: has all blocks, which are in memory.
        texts: the texts by number.
        skipped: removed blocks, which states pass unchanged.
    """

    def __init__(
        self, runner: BlockRunner, texts: Sequence[Text], *, settings: Recovery, skipped: frozenset[int] = frozenset()
    ) -> None:
        self._runner = runner
        self._texts = texts
        self._settings = settings
        self._skipped = skipped
        self._dense: dict[int, Tensor] = {}
        self._steps: list[_Forward] = []
        runner.hooks.observe_outputs()

    def keep_dense_states(self) -> None:
        """Run all texts, and keep their final states as those of the dense model."""
        self._dense = dict(enumerate(parallel_map(self._final_states, range(len(self._texts)))))

    def losses(self, numbers: Sequence[int]) -> list[TextLosses]:
        """Return the losses of some texts."""
        return list(parallel_map(self._losses, numbers))

    def forward(self, numbers: Sequence[int]) -> list[TextLosses]:
        """Return the losses of some texts, and keep what `backward` needs."""
        self._steps = list(parallel_map(self._forward, numbers))
        return [step.losses for step in self._steps]

    def backward(self, coefficients: Sequence[float]) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
        """Yield each block and the gradients of the weights of its layers, the last block first.

        The gradients are those of the weighted sum of the losses of the texts of the last `forward`. Weights of a block
        may change as soon as it was yielded.

        Args:
            coefficients: of each text.
        Yields: block, and layer -> [out, in] float32; they may be changed. Experts without tokens are missing.
        """
        steps, self._steps = self._steps, []
        flows = [step.gradient for step in steps]
        for block in reversed([block for block in self._runner.blocks if block not in self._skipped]):
            sums: dict[str, Tensor] = {}
            found = parallel_map(partial(self._block_backward, block), zip(steps, flows, strict=True))
            before = []
            for coefficient, (gradient, products) in zip(coefficients, found, strict=True):
                before.append(gradient)
                for layer, product in products.items():
                    if layer not in sums:
                        sums[layer] = torch.zeros_like(product, dtype=torch.float32)
                    sums[layer].add_(product, alpha=coefficient)
            flows = before
            yield block, sums

    def weight(self, block: int, layer: str) -> Tensor:
        """Return the current weight of a layer, [out, in]; a view, through which it can be changed."""
        kind = self._runner.architecture.block(block)
        return oriented(self._runner.modules[block].get_submodule(layer).get_parameter("weight").detach(), kind)

    def _final_states(self, number: int) -> Tensor:
        """Return the states after the final norm at the positions of a text, [m, d] on the CPU."""
        text = self._texts[number]
        with torch.inference_mode(False), torch.no_grad():
            *_, last = self._states(text)
            return self._runner.apply_final_norm(last.hidden)[0, text.positions].cpu()

    def _states(self, text: Text) -> Iterator[HiddenStates]:
        """Yield the states before each block and after the last one."""
        states = self._runner.embed(text.token_ids, torch.ones_like(text.token_ids, dtype=torch.bool))
        yield states
        for block in self._runner.blocks:
            states = self._runner.step(block, states)
            yield states

    def _losses(self, number: int) -> TextLosses:
        hidden = self._final_states(number)
        return self._compared(number, hidden.to(self._runner.head.weight.device), with_gradient=False)

    def _compared(self, number: int, hidden: Tensor, *, with_gradient: bool) -> TextLosses:
        head, device = output_head(self._runner), hidden.device
        with torch.inference_mode(False), torch.no_grad():
            return text_losses(
                hidden,
                self._dense[number].to(device),
                head,
                targets=self._texts[number].targets.to(device),
                settings=self._settings,
                with_gradient=with_gradient,
            )

    def _forward(self, number: int) -> _Forward:
        text = self._texts[number]
        with torch.inference_mode(False):
            with torch.no_grad():
                *before, last = self._states(text)
            with torch.enable_grad():
                hidden = last.hidden.detach().requires_grad_()
                final = self._runner.apply_final_norm(hidden)[0, text.positions]
            losses = self._compared(number, final.detach(), with_gradient=True)
            (gradient,) = torch.autograd.grad(final, hidden, losses.gradient)
        calls = [{block: states.calls[block]} for block, states in zip(self._runner.blocks, before, strict=True)]
        kept = [HiddenStates(states.hidden, call) for states, call in zip(before, calls, strict=True)]
        return _Forward(replace(losses, gradient=None), tuple(kept), gradient)

    def _block_backward(self, block: int, flow: tuple[_Forward, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Run a block again, and backward from the gradient of its output.

        Args:
            flow: the forward pass of a text, and this gradient.
        Returns: the gradient of the states before it, and layer -> gradient of its weight, [out, in], summed in float32
            and rounded once to the dtype of the model.
        """
        step, gradient = flow
        kind, recorded, states = self._runner.architecture.block(block), RecordedLayers(), step.before[block]
        with torch.inference_mode(False):
            with torch.enable_grad():
                hidden = states.hidden.detach().requires_grad_()
                with self._runner.hooks.listening(recorded.take_input, outputs=recorded.take_output):
                    after = self._runner.step(block, HiddenStates(hidden, states.calls)).hidden
                layers = [layer for layer in kind.layers if layer in recorded.outputs]
                inner = [recorded.outputs[layer] for layer in layers]
                before, *of_outputs = torch.autograd.grad(after, [hidden, *inner], gradient.to(after.device))
            with torch.no_grad():
                inputs = (recorded.inputs[kind.input_of(layer)].flatten(0, -2) for layer in layers)
                pairs = zip(layers, of_outputs, inputs, strict=True)
                return before, {layer: outputs.flatten(0, -2).T @ read for layer, outputs, read in pairs}
