"""Scoring rules: the score of a candidate from its log-likelihoods.

A text has two parts: the context, which is equal for all candidates, and the candidate part, which is the candidate and
the text after it. (The candidate without that text would be incomplete: in XNLI's template it is the hypothesis.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import TaskFileError
from mlprune.vocabulary import ProfileName, RuleName

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Likelihoods:
    """Log-likelihoods of candidates, one row each, summed over scored tokens. A text's first token is never scored."""

    whole: Floats
    """[rows], log-likelihood of the whole text."""
    n_whole: NDArray[np.int64]
    """[rows], number of scored tokens of the whole text."""
    part: Floats
    """[rows], log-likelihood of the candidate part given the context."""
    n_part: NDArray[np.int64]
    """[rows], number of scored tokens of the candidate part."""
    alone: Floats
    """[rows], log-likelihood of the candidate part given only a start token; NaN if it was not computed."""

    def take(self, rows: NDArray[np.int64]) -> "Likelihoods":
        """Return the likelihoods of some rows, in the given order."""
        return Likelihoods(self.whole[rows], self.n_whole[rows], self.part[rows], self.n_part[rows], self.alone[rows])


@dataclass(frozen=True)
class Rule:
    """A scoring rule."""

    scores: Callable[[Likelihoods], Floats]
    """[rows], higher is better."""
    needs_alone: bool = False
    """Whether the rule reads `Likelihoods.alone`."""


def _mean(likelihoods: Likelihoods) -> Floats:
    return likelihoods.whole / likelihoods.n_whole


def _candidate_mean(likelihoods: Likelihoods) -> Floats:
    return likelihoods.part / likelihoods.n_part


def _candidate_sum(likelihoods: Likelihoods) -> Floats:
    return likelihoods.part


def _pmi(likelihoods: Likelihoods) -> Floats:
    return likelihoods.part - likelihoods.alone


RULES: Mapping[RuleName, Rule] = {
    "mean": Rule(_mean),
    "candidate_mean": Rule(_candidate_mean),
    "candidate_sum": Rule(_candidate_sum),
    "pmi": Rule(_pmi, needs_alone=True),
}
"""`mean` is the log-probability per scored token of the whole text. `candidate_mean` and `candidate_sum` are the mean
and the sum over the candidate part. `pmi` is this sum minus the log-likelihood of the same tokens without the context
(Holtzman et al., arXiv:2104.08315, with an empty context)."""


def rule_scores(rule: RuleName, likelihoods: Likelihoods, *, profile: ProfileName = "corrected") -> Floats:
    """Score all candidates under a rule.

    Profile `paper` is the published code's only score: the sum of the scored tokens divided by the number T of all
    tokens of the text, although its first token has no score. `mean` divides by T - 1.

    Raises:
        TaskFileError: the rule reads `alone`, which was not computed for these candidates.
    """
    if profile == "paper":
        return likelihoods.whole / (likelihoods.n_whole + 1)
    if RULES[rule].needs_alone and np.isnan(likelihoods.alone).any():
        expected = f"predictions of an evaluation with rule: {rule}"
        raise TaskFileError("these predictions lack the candidates' own scores", rule=rule, expected=expected, got=None)
    return RULES[rule].scores(likelihoods)


def ranks(scores: Floats, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """[rows] rank of each candidate in its item: 1 + the number of candidates with a higher score. Equal scores tie.

    Args:
        scores: [rows], item after item.
        starts: [n_items + 1]: the candidates of item i are rows starts[i] ... starts[i + 1] - 1.
    """
    item_ranks = np.empty(scores.size, dtype=np.int64)
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        item_scores = scores[start:end]
        n_lower_or_equal = np.searchsorted(np.sort(item_scores), item_scores, side="right")
        item_ranks[start:end] = 1 + item_scores.size - n_lower_or_equal
    return item_ranks
