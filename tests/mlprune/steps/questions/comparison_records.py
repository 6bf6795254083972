"""Records of comparisons with chosen contributions of clusters, as a run writes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlprune.numeric.statistics.paired_proportions import equivalence_interval
from mlprune.numeric.statistics.sign_flips import sign_flip_test, sign_flips
from mlprune.steps.questions.evidence import Evidence

CLUSTERS = 40


def cluster_evidence(contributions: Sequence[float], *, test: str = "sign_flip", **row: Any) -> Evidence:
    """Evidence of clusters of equal size, with the row of a comparison that such contributions give."""
    d, m = np.array(contributions, dtype=np.float64), np.full(len(contributions), 1.0)
    result = sign_flip_test(d, m, sign_flips(len(d)))
    wide, narrow = result.interval, result.interval90
    if test == "tango":
        pairs = int((d > 0).sum()), int((d < 0).sum()), len(d)
        wide, narrow = (equivalence_interval(*pairs, level=level) for level in (0.95, 0.90))
    error = float(d.std(ddof=1) / np.sqrt(len(d)))
    values = {
        "difference": result.difference,
        "scale": "difference",
        "ci_low": wide.low,
        "ci_high": wide.high,
        "ci90_low": narrow.low,
        "ci90_high": narrow.high,
        "interval": test,
        "standard_error": error,
        "p_value": result.p_value,
        "test": test,
        "n": len(d),
        "n_clusters": len(d),
        "n_gained": int((d > 0).sum()),
        "n_lost": int((d < 0).sum()),
    }
    return Evidence({**values, **row}, tuple(f"c{index}" for index in range(len(d))), d, m)


def changed(n_gained: int, n_lost: int, *, n: int = CLUSTERS) -> list[float]:
    """Contributions of n items of which some are gained and some lost."""
    return [1.0] * n_gained + [-1.0] * n_lost + [0.0] * (n - n_gained - n_lost)
