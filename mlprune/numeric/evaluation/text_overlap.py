"""BLEU and chrF of many sums of n-gram counts at once, as sacreBLEU computes them for one."""

import numpy as np

from mlprune.numeric.evaluation.metrics import Array

BLEU_ORDERS = 4
CHRF_BETA = 2
LARGEST = 1.0
"""Value of outputs that equal their references."""


def bleu(sums: Array) -> Array:
    """Return corpus BLEU as a fraction.

    BLEU = min(1, exp(1 - r / h)) * exp(mean over n of ln(m_n / t_n)), for h tokens in outputs, r in references, m_n of
    t_n n-grams matching. The k-th n without a match has m_n = 1 / 2^k (smoothing method `exp`, arXiv:1804.08771). The
    value is 0 if nothing matches or some t_n is 0, and at most 1: rounding errors of exp and ln are cut off.

    Args:
        sums: [..., 10]: h, r, m_1 to m_4, t_1 to t_4.
    """
    tokens, expected = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2 : 2 + BLEU_ORDERS], sums[..., 2 + BLEU_ORDERS :]
    has_value = (matches > 0).any(axis=-1) & (totals > 0).all(axis=-1)
    smoothed = np.where(matches > 0, matches, 0.5 ** (matches == 0).cumsum(axis=-1))
    precisions = smoothed / np.where(totals > 0, totals, 1.0)
    shortness = np.minimum(0.0, 1.0 - expected / np.where(tokens > 0, tokens, 1.0))
    values = np.where(has_value, np.exp(shortness + np.log(precisions).mean(axis=-1)), 0.0)
    return np.asarray(np.minimum(values, LARGEST))


def chrf(sums: Array) -> Array:
    """Return chrF (beta 2, character n-grams of 1 to 6, no word n-grams) as a fraction.

    chrF = min(1, (1 + b^2) * P * R / (b^2 * P + R)), with P and R the means of precision and recall over the orders
    that occur in both outputs and references; 0 if P + R is 0.

    Args:
        sums: [..., 18]: for each order the n-grams in outputs, in references, and matches.
    """
    in_outputs, in_references, matches = (sums[..., part::3] for part in range(3))
    occurs = (in_outputs > 0) & (in_references > 0)
    n_orders = np.maximum(1, occurs.sum(axis=-1))
    precision, recall = (
        np.where(occurs, matches / np.where(totals > 0, totals, 1.0), 0.0).sum(axis=-1) / n_orders
        for totals in (in_outputs, in_references)
    )
    below = CHRF_BETA**2 * precision + recall
    values = (1 + CHRF_BETA**2) * precision * recall / np.where(below > 0, below, 1.0)
    return np.asarray(np.minimum(values, LARGEST))
