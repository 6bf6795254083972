"""The opponent: Wanda's loop, written from its description (Sun et al., arXiv 2306.11695), made as fast as it allows.

Samples are padded to one length. The inputs of the first block are caught; then, block by block, every sample runs
alone through the dense block while hooks on all its linear layers keep a running mean of squared column norms, every
layer is pruned row by row with one stable sort of its whole score matrix, and every sample runs once more through the
pruned block. Nothing of the project is imported here. The seconds of its parts are taken on the way.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

OnMask = Callable[[int, str, Tensor, Tensor], Tensor]
"""Told of every layer: block, layer, scores [out, in], and bool [out, in], True where the weight is to be removed;
returns the mask to remove by, this one or another."""

Call = tuple[Tensor, tuple[Any, ...], dict[str, Any]]
"""Hidden states of one sample, and the other arguments of its blocks."""


@dataclass
class LoopSeconds:
    """Where the time of a loop went; the parts add up to the total but for moments between them."""

    total: float = 0.0
    catch: float = 0.0
    """Embedding the samples and catching the first block's inputs."""
    forward: float = 0.0
    """All samples through all blocks twice, the hooks not counted."""
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
    """Add the time of a passage to one part."""
    start = perf_counter()
    yield
    setattr(seconds, part, getattr(seconds, part) + perf_counter() - start)


class _Caught(Exception):
    """The first block was reached."""


class _Catcher(nn.Module):
    """Stands in the first block's place, keeps what it is called with, and ends the forward there."""

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
        """[s] bool, the tokens of the current sample that count; None: all, padding too."""
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
        sparsity: share removed of every row.
        counted: [n, s] bool, the real tokens, which are then attended to and counted alone; None: no attention mask is
            passed and padding counts, which is what the published code does.
        on_mask: told of every mask, and may change it.
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
    """What the model calls its first block with, for every sample alone."""
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
    """Run all samples through the dense block; layer -> [in] running mean of squared norms."""
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
    """Scores, and True where they are among the lowest of their row; both [out, in]."""
    with _added(seconds, "score"):
        scores = weight.abs() * torch.sqrt(mean.reshape(1, -1))
    with _added(seconds, "sort"):
        order = torch.sort(scores, dim=-1, stable=True)[1]
    with _added(seconds, "mask"):
        removed = torch.zeros_like(scores, dtype=torch.bool)
        removed.scatter_(1, order[:, : int(scores.shape[1] * sparsity)], True)
    return scores, removed


def _run(module: nn.Module, call: Call, seconds: LoopSeconds) -> Tensor:
    """One sample through one block."""
    with _added(seconds, "forward"):
        hidden, args, kwargs = call
        output: Tensor = module(hidden, *args, **kwargs)
    return output


def loop_flops(*, tokens: int, samples: int, blocks: int, width: int, feed_forward: int) -> float:
    """Floating-point operations of the matrix products in a loop's two passes, padding included.

    Args:
        tokens: of one padded sample.
    """
    linear = 2 * tokens * (4 * width * width + 2 * width * feed_forward)
    attention = 2 * 2 * tokens * tokens * width
    return 2.0 * samples * blocks * (linear + attention)
