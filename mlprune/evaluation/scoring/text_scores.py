"""Log-probabilities of texts: run batches through a chain and return the scores of each text's tokens.

The step `evaluate` and the adapter of lm-evaluation-harness both score texts with this module.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.scoring.batches import TextBatch
from mlprune.models.chain import Chain
from mlprune.models.inference.prefix_scoring import ScoringVisitor


@dataclass(frozen=True)
class TextScores:
    """Log-probabilities of the scored tokens of some texts, text after text."""

    texts: tuple[int, ...]
    starts: NDArray[np.int64]
    """[n_texts], ascending from 0: index of each text's first token."""
    log_probs: NDArray[np.float64]
    """[k] log-probability of each token given all tokens before it."""
    is_likeliest: NDArray[np.bool_]
    """[k] whether no other token is likelier at its position."""

    @property
    def log_likelihoods(self) -> NDArray[np.float64]:
        """[n_texts] sums over the scored tokens of each text."""
        return np.add.reduceat(self.log_probs, self.starts)

    def log_likelihoods_from(self, firsts: NDArray[np.int64]) -> NDArray[np.float64]:
        """[n_texts] sums that begin with scored token `firsts` of each text, counted from 0."""
        bounds = np.stack([self.starts + firsts, self.starts + self.n_tokens], axis=1).ravel()[:-1]
        return np.add.reduceat(self.log_probs, bounds)[::2]

    @property
    def n_tokens(self) -> NDArray[np.int64]:
        """[n_texts] scored tokens of each text."""
        return np.diff(self.starts, append=self.log_probs.size)

    @property
    def is_greedy(self) -> NDArray[np.bool_]:
        """[n_texts] whether greedy decoding gives all scored tokens of a text."""
        return np.logical_and.reduceat(self.is_likeliest, self.starts)


def score_texts(chain: Chain, batches: Iterable[TextBatch]) -> Iterator[TextScores]:
    """Score batches, in order, with the current model of the chain."""
    plan = list(batches)
    results = chain.stream(ScoringVisitor, (planned.batch for planned in plan))
    for planned, scores in zip(plan, results, strict=True):
        yield TextScores(planned.texts, planned.starts, scores.log_probs.numpy(), scores.is_greedy.numpy())
