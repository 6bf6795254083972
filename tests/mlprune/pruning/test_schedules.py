"""Sparsity of each layer: given, outside the scope, and computed from outliers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlprune.errors import StatisticsError
from mlprune.methods import DlpParameters, GivenParameters, OwlParameters
from mlprune.pruning.schedules import BlockValue, LayerPosition, layer_sparsities
from mlprune.pruning.spec import ScheduleSpec, Scope

ASKED = (0.25, 0.5)
OWL = ScheduleSpec("owl", OwlParameters(spread=0.1))


def of(block: int, layer: str, schedule: ScheduleSpec, scope: Scope | None = None) -> tuple[float, ...]:
    position = LayerPosition(block, layer)
    return layer_sparsities(ASKED, position=position, schedule=schedule, scope=scope or Scope())


def test_uniform_gives_every_layer_the_sparsity_of_the_model() -> None:
    assert of(0, "fc1", ScheduleSpec()) == of(9, "fc2", ScheduleSpec()) == ASKED


def test_layers_outside_the_scope_are_not_pruned_under_any_schedule() -> None:
    for schedule in (ScheduleSpec(), ScheduleSpec("given", GivenParameters(blocks=((0, 0.9),))), OWL):
        assert of(0, "fc1", schedule, Scope((1,))) == (0.0, 0.0)
        assert of(0, "fc1", schedule, Scope((), ("fc2",))) == (0.0, 0.0)


def test_given_blocks_take_precedence_over_given_layers() -> None:
    parameters = GivenParameters(blocks=((1, 0.75), (2, 0.0)), layers=(("fc1", 0.125),))
    schedule = ScheduleSpec("given", parameters)
    assert of(1, "fc1", schedule) == of(1, "fc2", schedule) == (0.75, 0.75)
    assert of(2, "fc1", schedule) == (0.0, 0.0)
    assert of(0, "fc1", schedule) == (0.125, 0.125)
    assert of(0, "fc2", schedule) == ASKED


def test_a_given_layer_of_one_block_takes_precedence_over_its_block_and_its_layer() -> None:
    parameters = GivenParameters(((1, 0.75),), (("fc1", 0.125),), (("1.fc1", 0.0), ("11.fc1", 0.375)))
    schedule = ScheduleSpec("given", parameters)
    assert of(1, "fc1", schedule) == (0.0, 0.0)
    assert of(11, "fc1", schedule) == (0.375, 0.375)
    assert of(1, "fc2", schedule) == (0.75, 0.75)
    assert of(2, "fc1", schedule) == (0.125, 0.125)


def owl(sparsities: tuple[float, ...], ratios: list[float], block: int) -> tuple[float, ...]:
    position = LayerPosition(block, "fc1", [BlockValue(ratio) for ratio in ratios])
    return layer_sparsities(sparsities, position=position, schedule=OWL, scope=Scope())


def test_owl_prunes_blocks_with_more_outliers_less_and_keeps_the_mean() -> None:
    ratios = [0.02, 0.06, 0.04, 0.02]
    result = [owl((0.5,), ratios, block)[0] for block in range(4)]
    # r = 2 * 0.1 * (ratio - 0.02) / 0.04 = 0, 0.2, 0.1, 0, whose mean is 0.075
    assert result == pytest.approx([0.575, 0.375, 0.475, 0.575], abs=1e-12)
    assert sum(result) / 4 == pytest.approx(0.5, abs=1e-12)


def test_owl_keeps_the_mean_over_the_blocks_of_the_scope() -> None:
    values = [BlockValue(ratio) for ratio in (0.01, 0.02, 0.03, 0.1)]
    scope = Scope((2, 3))
    result = [
        layer_sparsities((0.5,), position=LayerPosition(block, "fc1", values), schedule=OWL, scope=scope)[0]
        for block in range(4)
    ]
    assert result == pytest.approx([0, 0, 0.6, 0.4])


@given(
    ratios=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    sparsities=st.lists(st.floats(0, 0.99), min_size=2, max_size=5).map(sorted),
)
def test_owl_sparsities_ascend_with_those_asked_so_that_masks_nest(
    ratios: list[float], sparsities: list[float]
) -> None:
    for block in range(len(ratios)):
        result = owl(tuple(sparsities), ratios, block)
        assert all(low <= high for low, high in pairwise(result))
        assert all(0 <= one < 1 for one in result)


def test_owl_without_ratios_is_an_error_that_names_the_block() -> None:
    with pytest.raises(StatisticsError, match="outlier ratios") as caught:
        of(3, "fc1", OWL)
    assert caught.value.context["block"] == 3


def dlp(scores: list[float], *, sizes: list[int], scope: Scope | None = None) -> list[float]:
    """Sparsity of fc1 in every block at 0.5."""
    values = [BlockValue(score, size) for score, size in zip(scores, sizes, strict=True)]
    schedule = ScheduleSpec("dlp", DlpParameters(spread=0.1))
    return [
        layer_sparsities(
            (0.5,), position=LayerPosition(block, "fc1", values), schedule=schedule, scope=scope or Scope()
        )[0]
        for block in range(len(scores))
    ]


def test_dlp_weights_the_mean_by_the_sizes_of_blocks() -> None:
    sparsities = dlp([1.0, 2.0, 3.0], sizes=[1, 1, 2])
    assert sparsities == pytest.approx([0.375, 0.475, 0.575])
    assert (sparsities[0] + sparsities[1] + 2 * sparsities[2]) / 4 == pytest.approx(0.5, abs=1e-12)


def test_dlp_keeps_the_mean_over_the_blocks_of_the_scope() -> None:
    sparsities = dlp([1.0, 9.0, 3.0, 2.0], sizes=[1] * 4, scope=Scope((0, 2, 3)))
    assert sparsities == pytest.approx([0.4, 0.0, 0.6, 0.5])


def test_dlp_without_scores_is_an_error_that_names_the_block() -> None:
    with pytest.raises(StatisticsError, match="scores of all blocks") as caught:
        of(2, "fc1", ScheduleSpec("dlp"))
    assert caught.value.context["block"] == 2


def test_alpha_pruning_prunes_blocks_with_higher_exponents_more() -> None:
    values = [BlockValue(2.0), BlockValue(9.0), BlockValue(4.0), BlockValue(3.0)]
    schedule, scope = ScheduleSpec("alpha_pruning"), Scope((0, 2, 3))
    sparsities = [
        layer_sparsities((0.5,), position=LayerPosition(block, "fc1", values), schedule=schedule, scope=scope)[0]
        for block in range(4)
    ]
    assert sparsities == pytest.approx([0.35, 0.0, 0.65, 0.5])
    with pytest.raises(StatisticsError, match="exponents of all blocks"):
        of(2, "fc1", schedule)
