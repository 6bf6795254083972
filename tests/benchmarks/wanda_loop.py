"""The baseline: Wanda's loop, written from its description (Sun et al., arXiv 2306.11695), as fast as that allows.

Samples are padded to one length, and the inputs of the first block are captured. For each block, every sample runs
alone through the dense block, and hooks on its linear layers keep a running mean of squared column norms. Then every
layer is pruned per row with one stable sort of its score matrix, and every sample runs through the pruned block. This
module imports nothing from mlprune. It also measures the time of each part.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

OnMask = Callable[[int, str, Tensor, Tensor], Tensor]
"""Called for every layer with block, layer, scores [out, in] and removal mask [out, in]; returns the mask to apply."""

Call = tuple[Tensor, tuple[Any, ...], dict[str, Any]]
"""Hidden states of one sample, and the other arguments of its blocks."""


@dataclass
class LoopSeconds:
    """Seconds of the parts of a loop; they add up to nearly the total."""

    total: float = 0.0
    catch: float = 0.0
    """Embedding the samples and capturing the inputs of the first block."""
    forward: float = 0.0
    """Running all samples through all blocks twice, without the hooks."""
    norms: float = 0.0
    """The hooks."""
    score: float = 0.0
    """|W| times the norms."""
    sort: float = 0.0
    """Sorting the scores."""
    mask: float = 0.0
    """Scattering the mask and zeroing the weights."""

    def as_dict(self) -> dict[str, float]:
        return {field.name: round(getattr(self, field.name), 3) for field in fields(self)}


@contextmanager
def _added(seconds: LoopSeconds, part: str) -> Iterator[None]:
    """Add the time of the enclosed code to one part."""
    start = perf_counter()
    yield
    setattr(seconds, part, getattr(seconds, part) + perf_counter() - start)


class _Caught(Exception):
    """The first block was reached."""


class _Catcher(nn.Module):
    """Replaces the first block, stores its call arguments and ends the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> None:
        self.calls.append((hidden, args, kwargs))
        raise _Caught


class _RunningNorms:
    """Mean over samples of ||X_j||_2 ** 2, per input feature of one layer."""

    def __init__(self, layer: nn.Linear, seconds: LoopSeconds) -> None:
        self.mean = torch.zeros(layer.in_features)
        self.counted: Tensor | None = None
        """[s] bool, the counted tokens of the current sample; None counts all tokens, including padding."""
        self._n = 0
        self._seconds = seconds

    def hook(self, _layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        with _added(self._seconds, "norms"):
            read = inputs[0].reshape(-1, inputs[0].shape[-1])
            if self.counted is not None:
                read = read[self.counted]
            norms = torch.linalg.vector_norm(read.float(), dim=0)
            self.mean.mul_(self._n / (self._n + 1)).add_(norms**2, alpha=1 / (self._n + 1))
            self._n += 1


@torch.inference_mode()
def wanda_loop(
    model: Any, samples: Tensor, *, sparsity: float, counted: Tensor | None = None, on_mask: OnMask | None = None
) -> LoopSeconds:
    """Prune the model in place.

    Args:
        model: a causal language model of transformers whose blocks are `model.model.layers`.
        samples: [n, s] int64, padded on the right.
        sparsity: share of each row to remove.
        counted: [n, s] bool, the real tokens; only they are attended to and counted. With None, no attention mask is
            passed and padding is counted, as in the published code.
        on_mask: called with every mask; may replace it.
    """
    seconds = LoopSeconds()
    with _added(seconds, "total"):
        with _added(seconds, "catch"):
            calls = _first_inputs(model, samples, counted)
        for block, module in enumerate(model.model.layers):
            layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
            norms = _observe(module, calls, layers=layers, counted=counted, seconds=seconds)
            for name, layer in layers.items():
                scores, removed = _chosen(layer.weight, norms[name], sparsity=sparsity, seconds=seconds)
                if on_mask is not None:
                    removed = on_mask(block, name, scores, removed)
                with _added(seconds, "mask"):
                    layer.weight[removed] = 0
            calls = [(_run(module, call, seconds), *call[1:]) for call in calls]
    seconds.forward -= seconds.norms
    return seconds


def _first_inputs(model: Any, samples: Tensor, counted: Tensor | None) -> list[Call]:
    """Capture the call arguments of the first block for every sample."""
    first, catcher = model.model.layers[0], _Catcher()
    model.model.layers[0] = catcher
    try:
        for index in range(len(samples)):
            mask = None if counted is None else counted[index : index + 1].long()
            try:
                model(samples[index : index + 1], attention_mask=mask, use_cache=False)
            except _Caught:
                continue
    finally:
        model.model.layers[0] = first
    return catcher.calls


def _observe(
    module: nn.Module,
    calls: list[Call],
    *,
    layers: Mapping[str, nn.Linear],
    counted: Tensor | None,
    seconds: LoopSeconds,
) -> dict[str, Tensor]:
    """Run all samples through the dense block and return the running means of squared norms: layer -> [in]."""
    running = {name: _RunningNorms(layer, seconds) for name, layer in layers.items()}
    handles = [layer.register_forward_hook(running[name].hook) for name, layer in layers.items()]
    for index, call in enumerate(calls):
        for one in running.values():
            one.counted = None if counted is None else counted[index]
        _run(module, call, seconds)
    for handle in handles:
        handle.remove()
    return {name: one.mean for name, one in running.items()}


def _chosen(weight: Tensor, mean: Tensor, *, sparsity: float, seconds: LoopSeconds) -> tuple[Tensor, Tensor]:
    """Return the scores and a mask of the lowest scores of each row, both [out, in]."""
    with _added(seconds, "score"):
        scores = weight.abs() * torch.sqrt(mean.reshape(1, -1))
    with _added(seconds, "sort"):
        order = torch.sort(scores, dim=-1, stable=True)[1]
    with _added(seconds, "mask"):
        removed = torch.zeros_like(scores, dtype=torch.bool)
        removed.scatter_(1, order[:, : int(scores.shape[1] * sparsity)], True)
    return scores, removed


def _run(module: nn.Module, call: Call, seconds: LoopSeconds) -> Tensor:
    """Run one sample through one block."""
    with _added(seconds, "forward"):
        hidden, args, kwargs = call
        output: Tensor = module(hidden, *args, **kwargs)
    return output


def loop_flops(*, tokens: int, samples: int, blocks: int, width: int, feed_forward: int) -> float:
    """Floating-point operations of the matrix products in the two passes of a loop, including padding.

    Args:
        tokens: length of a padded sample.
    """
    linear = 2 * tokens * (4 * width * width + 2 * width * feed_forward)
    attention = 2 * 2 * tokens * tokens * width
    return 2.0 * samples * blocks * (linear + attention)
