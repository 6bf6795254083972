"""Scoring rules: how the log-likelihoods of a candidate become the score it is chosen by.

A text is cut in two: the context, which is the same for all candidates, and the candidate part, the candidate and what
follows it. (A candidate alone would know nothing of what stands behind it: in XNLI's template that is the hypothesis.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import TaskFileError
from mlprune.vocabulary import RuleName

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Likelihoods:
    """What a model says of candidates, one row each. Sums are over scored tokens; a text's first is never scored."""

    whole: Floats
    """[rows], of the whole text."""
    n_whole: NDArray[np.int64]
    """[rows], scored tokens of the whole text."""
    part: Floats
    """[rows], of the candidate part given the context."""
    n_part: NDArray[np.int64]
    """[rows], scored tokens of the candidate part."""
    alone: Floats
    """[rows], of the tokens of the candidate part given nothing but a start token; NaN if that was not computed."""

    def take(self, rows: NDArray[np.int64]) -> "Likelihoods":
        """Return the likelihoods of some rows, in the given order."""
        return Likelihoods(self.whole[rows], self.n_whole[rows], self.part[rows], self.n_part[rows], self.alone[rows])


@dataclass(frozen=True)
class Rule:
    """One way to score."""

    scores: Callable[[Likelihoods], Floats]
    """[rows], higher is better."""
    needs_alone: bool = False
    """Whether it reads `alone`."""


def _mean(found: Likelihoods) -> Floats:
    return found.whole / found.n_whole


def _candidate_mean(found: Likelihoods) -> Floats:
    return found.part / found.n_part


def _candidate_sum(found: Likelihoods) -> Floats:
    return found.part


def _pmi(found: Likelihoods) -> Floats:
    return found.part - found.alone


RULES: Mapping[RuleName, Rule] = {
    "mean": Rule(_mean),
    "candidate_mean": Rule(_candidate_mean),
    "candidate_sum": Rule(_candidate_sum),
    "pmi": Rule(_pmi, needs_alone=True),
}
"""`mean` is the log-probability per scored token of the whole text, `candidate_mean` and `candidate_sum` mean and sum
over the candidate part, `pmi` the sum minus what the same tokens have without the context (Holtzman et al.,
arXiv:2104.08315, with an empty context)."""


def rule_scores(rule: RuleName, found: Likelihoods) -> Floats:
    """The scores of all candidates under a rule.

    Raises:
        TaskFileError: the rule reads what was not asked of the model when these were scored.
    """
    if RULES[rule].needs_alone and np.isnan(found.alone).any():
        expected = f"predictions of an evaluation with rule: {rule}"
        raise TaskFileError("these predictions lack the candidates' own scores", rule=rule, expected=expected, got=None)
    return RULES[rule].scores(found)


def ranks(scores: Floats, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """[rows] rank of each candidate in its item: 1 + how many have a higher score; equal scores share a rank.

    Args:
        scores: [rows], item after item.
        starts: [n_items + 1]: the candidates of item i are rows starts[i] ... starts[i + 1] - 1.
    """
    found = np.empty(scores.size, dtype=np.int64)
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        own = scores[start:end]
        found[start:end] = 1 + own.size - np.searchsorted(np.sort(own), own, side="right")
    return found
