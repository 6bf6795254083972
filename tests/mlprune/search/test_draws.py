"""Random draws of a search."""

from collections import Counter
from itertools import islice

from mlprune.search.draws import draw_below, draw_new_points, generator_for
from mlprune.search.space import Axis, Space

SPACE = Space((Axis("a", tuple(range(5))), Axis("b", tuple(range(4)))))


def test_generators_are_keyed_by_seed_purpose_and_number() -> None:
    keys = [(0, "random", 0), (1, "random", 0), (0, "halving", 0), (0, "random", 1), (-1, "random", 0)]
    drawn = [draw_below(generator_for(*key), 10**30) for key in keys]
    assert len(set(drawn)) == len(keys)
    assert drawn[0] == 542832973658673964120807211110  # the same on every machine
    assert drawn == [draw_below(generator_for(*key), 10**30) for key in keys]


def test_draws_are_uniform() -> None:
    counts = Counter(draw_below(generator_for(0, "test", number), 5) for number in range(1000))
    assert sorted(counts) == list(range(5))
    assert all(150 < count < 250 for count in counts.values())


def test_every_point_is_drawn_once() -> None:
    drawn = list(draw_new_points(SPACE, (), seed=3, first=0, purpose="random"))
    assert sorted(drawn) == list(SPACE.points())
    assert drawn != list(SPACE.points())


def test_draws_continue_after_the_points_that_were_asked() -> None:
    drawn = list(draw_new_points(SPACE, (), seed=3, first=0, purpose="random"))
    later = draw_new_points(SPACE, drawn[:7], seed=3, first=7, purpose="random")
    assert list(islice(later, 5)) == drawn[7:12]
