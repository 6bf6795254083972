"""BLEU and chrF of many sums, compared with sacreBLEU."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from mlprune.numeric.evaluation.text_overlap import bleu, chrf


def counts(seed: int, n_rows: int, n_pairs: int) -> np.ndarray:
    """[rows, pairs, 2] matches and totals, many of them 0."""
    rng = np.random.default_rng(seed)
    totals = rng.integers(0, 30, (n_rows, n_pairs)) * rng.integers(0, 2, (n_rows, n_pairs))
    return np.stack([rng.integers(0, totals + 1), totals], axis=-1)


def test_bleu_equals_that_of_sacrebleu() -> None:
    pairs = counts(0, 300, 4)
    lengths = np.random.default_rng(1).integers(0, 40, (300, 2))
    sums = np.concatenate([lengths, pairs[..., 0], pairs[..., 1]], axis=1)
    expected = [BLEU()._compute_score_from_stats(row).score / 100 for row in sums.tolist()]
    assert bleu(sums.astype(float)) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert len({value > 0 for value in expected}) == 2


def test_chrf_equals_that_of_sacrebleu() -> None:
    pairs = counts(2, 300, 6)
    references = np.random.default_rng(3).integers(0, 2, (300, 6)) * (pairs[..., 0] + 3)
    sums = np.stack([pairs[..., 1], references, np.minimum(pairs[..., 0], references)], axis=-1).reshape(300, 18)
    expected = [CHRF()._compute_score_from_stats(row).score / 100 for row in sums.tolist()]
    assert chrf(sums.astype(float)) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert len({value > 0 for value in expected}) == 2
