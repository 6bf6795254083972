"""The constants of statistics on the page of definitions are those of the code."""

import inspect
import math
import re
from collections.abc import Callable

from mlprune.evaluation.inference import estimates
from mlprune.numeric.evaluation import choice, metrics
from mlprune.numeric.statistics import cluster_score, power, proportions, sign_flips, variance_components
from mlprune.numeric.statistics.bootstrap import N_RESAMPLES, cluster_resamples
from mlprune.steps.questions import answers
from tests.docs.pages import ROOT

TABLE = re.compile(r"^\| constant \| value \|\n\|---\|---\|\n((?:\|.*\|\n)+)", re.MULTILINE)


def default(function: Callable[..., object], parameter: str) -> float:
    return float(inspect.signature(function).parameters[parameter].default)


def most_clusters_with_all_signs() -> int:
    return max(n for n in range(1, 16) if len(sign_flips.sign_flips(n)) == 2**n)


CONSTANTS: dict[str, tuple[float, ...]] = {
    "random sign vectors": (sign_flips.N_FLIPS, len(estimates.flips_of(20)) - 1),
    "clusters up to which all sign vectors are used": (most_clusters_with_all_signs(),),
    "resamples of clusters": (N_RESAMPLES, len(estimates.resamples_of(2))),
    "seed of sign vectors and of resamples of clusters": (
        estimates.SEED,
        default(sign_flips.sign_flips, "seed"),
        default(cluster_resamples, "seed"),
    ),
    "seed of resamples of seeds": (default(variance_components.two_way_resamples, "seed"),),
    "coverage of an interval": (estimates.LEVEL, 1 - answers.ALPHA),
    "level of a test": (answers.ALPHA, default(power.detectable_difference, "alpha")),
    "power of a detectable difference": (
        default(power.detectable_difference, "power"),
        default(power.detectable_difference_of_items, "power"),
    ),
    "share by which equal sums may differ": (sign_flips.TOLERANCE,),
    "changed clusters from which sign flips are used alone": (cluster_score.FEW_CHANGED_CLUSTERS,),
    "right or wrong items up to which Wilson's end is a Poisson end": (proportions.N_POISSON_ENDS,),
    "weight of an item in a design effect": (proportions.SHRINKAGE,),
    "bins of confidence": (metrics.N_BINS,),
    "seeds from which the interval is a bootstrap": (variance_components.ENOUGH_SEEDS,),
    "binary digits after the point of values among which is chosen": (-math.log2(choice.TIED),),
}
"""Name on the page -> values in the code."""


def test_constants_on_the_page_are_those_of_the_code() -> None:
    table = TABLE.search((ROOT / "docs/definitions.md").read_text("utf-8"))
    assert table is not None
    rows = [row.strip("| ").split(" | ") for row in table[1].splitlines()]
    stated = {name: float(value) for name, value in rows}
    assert stated == {name: values[0] for name, values in CONSTANTS.items()}
    assert {name: values for name, values in CONSTANTS.items() if len(set(values)) > 1} == {}
