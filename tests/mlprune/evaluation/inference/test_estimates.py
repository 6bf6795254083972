"""When an interval and a p-value disagree."""

import pytest

from mlprune.evaluation.inference.estimates import contradicts
from mlprune.numeric.statistics.interval import Interval


@pytest.mark.parametrize(("p_value", "is_contradiction"), [(0.05, False), (0.0499, True), (0.5, False)])
def test_a_p_value_of_exactly_the_level_does_not_reject_0(p_value: float, is_contradiction: bool) -> None:
    assert contradicts(Interval(-1.0, 1.0), p_value) is is_contradiction
