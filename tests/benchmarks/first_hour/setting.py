"""What all measurements share: their scale, their models, and the clock of the GPU."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from mlprune.evaluation.scoring.batches import TextBatch, plan_texts
from mlprune.evaluation.scoring.candidates import score_texts
from mlprune.models.chain import Chain
from tests.benchmarks.gpu_night import xnli_texts
from tests.benchmarks.large_model import Shape, make_model

GPU = torch.device("cuda", 0)
SMALL = Shape(blocks=24, hidden=1024, inner=4096, heads=16, vocabulary=256_008)
"""The shape of XGLM-564M."""
LARGE = Shape(blocks=8, hidden=4096, inner=16384, heads=32, vocabulary=256_008)
"""A quarter of the blocks of XGLM-7.5B; a block and the head are as large."""
TINY = Shape(blocks=2, hidden=32, inner=64, heads=2, vocabulary=5_000)


@dataclass(frozen=True)
class Setting:
    """Where to measure, and on which scale."""

    folder: Path
    """Models and stores; later measurements read what earlier ones wrote."""
    is_small: bool = False
    """Tiny models and few samples, to try the scripts."""

    @cached_property
    def small_model(self) -> Path:
        """A random model of 564 million weights."""
        return self._model("564M", SMALL)

    @cached_property
    def large_model(self) -> Path:
        """A random model with blocks as large as those of XGLM-7.5B."""
        return self._model("7.5B-blocks", LARGE)

    def _model(self, name: str, shape: Shape) -> Path:
        make_model(self.folder / name, TINY if self.is_small else shape)
        return self.folder / name

    def batches(self, n_examples: int, batch_tokens: int) -> list[TextBatch]:
        """Batches of texts as long as those of XNLI."""
        vocabulary = (TINY if self.is_small else SMALL).vocabulary
        texts = xnli_texts(min(n_examples, 8) if self.is_small else n_examples, vocabulary=vocabulary)
        return plan_texts(texts, batch_tokens=batch_tokens, device="cuda")


def n_tokens(batches: list[TextBatch]) -> int:
    """Tokens that are computed, padding included."""
    return sum(planned.batch.n_computed for planned in batches)


def score_all(chain: Chain, batches: list[TextBatch]) -> None:
    """Score all batches, and wait for the GPU."""
    for _ in score_texts(chain, batches):
        pass
    torch.cuda.synchronize()


def seconds_of(function: Callable[[], object], *, repeats: int = 1) -> float:
    """Seconds of one call, the work that it gives to the GPU included; the mean of some repeats after a first call."""
    function()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        function()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats
