"""Recover the kept weights of a model: AdamW steps on its losses; the best measured state is returned.

With the demonstrations n of set s that are not held out, and their positions P_s, the loss is

    L(W) = sum over sets s of share_s / P_s * sum over n in s of (D_n(W) + text_share * C_n(W))

with the sums D_n of divergences and C_n of cross entropies over the counted positions of n. A step reads a few of the N
demonstrations, B, and follows the gradient of N / |B| * sum over n in B of its terms of L. See `adamw` for the step and
the rate, and `weights` for what is optimised.

The same loss over the held-out demonstrations is measured before the first step, after every few steps and after the
last one, with weights rounded to the dtype in which they are stored. The state with the least loss is returned, the
earlier one of equals.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Protocol

from torch import Tensor

from mlprune.capabilities.recovery.checkpoint import CheckpointFile, Progress
from mlprune.capabilities.recovery.losses import TextLosses
from mlprune.capabilities.recovery.settings import Recovery
from mlprune.capabilities.recovery.weights import TrainedWeight
from mlprune.errors import StatisticsError
from mlprune.hashing import ordered_by_hash
from mlprune.json_values import Row
from mlprune.numeric.weights.adamw import drawn_batches, relative_rate
from mlprune.processes.parallel import parallel_map

HELD_OUT = 10
"""One demonstration in so many is held out, and at least one of each set."""
LayerKey = tuple[int, str]
"""(block, layer)."""
_BEST = "best"


class Losses(Protocol):
    """The losses of demonstrations, and their gradients by weights; see `Passes`."""

    def losses(self, numbers: Sequence[int]) -> Sequence[TextLosses]:
        """Return the losses of some demonstrations."""

    def forward(self, numbers: Sequence[int]) -> Sequence[TextLosses]:
        """Return the losses of some demonstrations, before `backward`."""

    def backward(self, coefficients: Sequence[float]) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
        """Yield blocks and the gradients of their layers."""

    def weight(self, block: int, layer: str) -> Tensor:
        """Return a view of the current weight."""


@dataclass(frozen=True)
class SetPart:
    """The demonstrations of one set that are optimised on or held out."""

    set_id: str
    share: float
    numbers: tuple[int, ...]
    n_positions: int
    """Counted positions of all of them."""

    @property
    def coefficient(self) -> float:
        """Factor of the losses of each demonstration."""
        return self.share / self.n_positions if self.n_positions else 0.0


def split_set(n: int, *, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the demonstrations of a set to optimise on, and those that are held out, both ascending.

    Held out is the first tenth, rounded up, in the order of the SHA-256 of `"seed:held out n"`.
    """
    names = ordered_by_hash(seed, (f"held out {number}" for number in range(n)))
    drawn = {int(name.rpartition(" ")[2]) for name in names[: -(-n // HELD_OUT)]}
    return tuple(number for number in range(n) if number not in drawn), tuple(sorted(drawn))


@dataclass(frozen=True)
class Recovered:
    """The best measured state."""

    weights: Mapping[LayerKey, Tensor]
    """[out, in] in the dtype of the model, exactly 0 where they were removed; empty if no step is better than none."""
    rows: tuple[Row, ...]
    """Of table `recovery_losses`, without the variant."""


class Recoverer:
    """A recovery that runs.

    Args:
        losses: of the demonstrations with the current weights.
        weights: of all layers; at first the current ones.
        parts: the demonstrations to optimise on, by set.
        held_out: those that are held out, by set.
    """

    def __init__(
        self,
        losses: Losses,
        weights: Mapping[LayerKey, TrainedWeight],
        *,
        parts: Sequence[SetPart],
        held_out: Sequence[SetPart],
        settings: Recovery,
    ) -> None:
        self._losses = losses
        self._weights = weights
        self._parts = parts
        self._held_out = held_out
        self._settings = settings
        self._set_of = {number: part for part in parts for number in part.numbers}
        self._best: dict[LayerKey, Tensor] = {}
        self._rows: list[Row] = []
        self._best_step, self._best_loss, self._n_done = 0, float("inf"), 0

    def run(self, file: CheckpointFile, *, every: int, done: Callable[[int], None]) -> Recovered:
        """Take all steps, from the checkpoint on if there is one.

        Args:
            every: steps after which a checkpoint is written.
            done: called with the number of steps that were finished or found.
        Raises:
            StatisticsError: a loss is not finite.
        """
        settings = self._settings
        if (found := file.read()) is not None:
            self._restore(*found)
            done(self._n_done)
        else:
            self._measure()
        numbers = sorted(self._set_of)
        draws = drawn_batches(len(numbers), batch=settings.batch, steps=settings.steps, seed=settings.seed)
        for step, drawn in enumerate(draws, start=1):
            if step <= self._n_done:
                continue
            self._step(step, [numbers[index] for index in drawn])
            if step % settings.every == 0 or step == settings.steps:
                self._measure()
            if step % every == 0 and step < settings.steps:
                file.write(*self._state())
            done(1)
        is_stored = [{**row, "is_stored": row["step"] == self._best_step and row["is_held_out"]} for row in self._rows]
        return Recovered(self._best, tuple(is_stored))

    def _step(self, step: int, numbers: Sequence[int]) -> None:
        found = self._losses.forward(numbers)
        parts = [self._set_of[number] for number in numbers]
        for part in dict.fromkeys(parts):
            of_set = [losses for losses, owner in zip(found, parts, strict=True) if owner is part]
            self._note(step, part, of_set, is_held_out=False)
        share = len(self._set_of) / len(numbers)
        rate = self._settings.learning_rate * relative_rate(step, self._settings.steps)
        for block, gradients in self._losses.backward([share * part.coefficient for part in parts]):

            def update(layer: str, block: int = block, gradients: Mapping[str, Tensor] = gradients) -> None:
                weight = self._weights[block, layer]
                weight.update(gradients[layer].contiguous(), rate=rate)
                self._losses.weight(block, layer).copy_(weight.value())

            for _ in parallel_map(update, [layer for layer in gradients if (block, layer) in self._weights]):
                pass
        self._n_done = step

    def _measure(self) -> None:
        """Measure the held-out loss, and keep the state if it is the best."""
        loss = 0.0
        for part in self._held_out:
            found = self._losses.losses(part.numbers)
            self._note(self._n_done, part, found, is_held_out=True)
            loss += part.coefficient * fsum(self._loss(losses) for losses in found)
        if loss < self._best_loss:
            self._best_step, self._best_loss = self._n_done, loss
            if self._n_done:
                self._best = {key: self._losses.weight(*key).to("cpu", copy=True) for key in self._weights}

    def _loss(self, losses: TextLosses) -> float:
        return losses.divergence + self._settings.text_share * losses.cross_entropy

    def _note(self, step: int, part: SetPart, found: Sequence[TextLosses], *, is_held_out: bool) -> None:
        """Add a row with the mean losses of some demonstrations of a set.

        Raises:
            StatisticsError: they are not finite.
        """
        n_positions = sum(losses.n_positions for losses in found)
        divergence, cross_entropy = (
            fsum(values) / max(1, n_positions)
            for values in zip(*((losses.divergence, losses.cross_entropy) for losses in found), strict=True)
        )
        if not isfinite(divergence + cross_entropy):
            raise StatisticsError(
                "the loss of a recovery is not finite",
                step=step,
                demonstration_set_id=part.set_id,
                got=divergence if not isfinite(divergence) else cross_entropy,
                next="a lower learning_rate in recover, or model.dtype float32",
            )
        row: Row = {"step": step, "demonstration_set_id": part.set_id, "is_held_out": is_held_out}
        row |= {"n_positions": n_positions}
        self._rows.append({**row, "divergence": divergence, "cross_entropy": cross_entropy})

    def _state(self) -> tuple[Progress, Mapping[str, Tensor]]:
        """Return all that a later run needs to continue."""
        progress = Progress(self._n_done, self._best_step, self._best_loss, tuple(self._rows))
        tensors = {_name(key, name): tensor for key, name, tensor in self._changing()}
        return progress, tensors | {_name(key, _BEST): tensor for key, tensor in self._best.items()}

    def _restore(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Continue from a checkpoint."""
        self._n_done, self._rows = progress.step, list(progress.rows)
        self._best_step, self._best_loss = progress.best_step, progress.best_loss
        for key, name, tensor in self._changing():
            tensor.copy_(tensors[_name(key, name)])
        for key, weight in self._weights.items():
            self._losses.weight(*key).copy_(weight.value())
            if _name(key, _BEST) in tensors:
                self._best[key] = tensors[_name(key, _BEST)]

    def _changing(self) -> Iterator[tuple[LayerKey, str, Tensor]]:
        for key, weight in self._weights.items():
            for name, tensor in weight.tensors().items():
                yield key, name, tensor


def _name(key: LayerKey, name: str) -> str:
    return f"{key[0]}/{key[1]}/{name}"
