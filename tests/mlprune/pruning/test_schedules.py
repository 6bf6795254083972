"""Sparsities of units, blocks and layers: formula, total, range and nesting; specifications as plain values."""

import itertools
import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlprune.errors import BadInputError, StatisticsError
from mlprune.methods import (
    DlpParameters,
    GivenParameters,
    OwlParameters,
    RandomParameters,
    RiaParameters,
    SparseGptParameters,
    VarianceParameters,
)
from mlprune.numeric.allocation import MOST
from mlprune.pruning.schedules import (
    BlockValue,
    LayerPosition,
    UnitLoss,
    layer_sparsities,
    layer_sparsity,
    unit_sparsities,
)
from mlprune.pruning.spec import ScheduleSpec, Scope, ScoreSpec, StatisticsSelection
from tests.refusals import refused

UNITS = st.lists(st.tuples(st.floats(-2, 5), st.integers(1, 1000)), min_size=1, max_size=6)


def blocks(*losses: float, n_weights: tuple[int, ...] = ()) -> list[UnitLoss]:
    sizes = n_weights or (10,) * len(losses)
    return [UnitLoss(block, None, loss, n) for block, (loss, n) in enumerate(zip(losses, sizes, strict=True))]


def test_units_with_larger_losses_keep_more_and_weights_decide_the_mean() -> None:
    # r = 2 * 0.1 * loss / 4 = 0, 0.2, 0.1, whose mean with weights 1, 1, 2 is 0.1
    assert unit_sparsities(blocks(0, 4, 2, n_weights=(1, 1, 2)), 0.5, spread=0.1) == (0.6, 0.4, 0.5)


@given(units=UNITS, sparsity=st.floats(0, 0.999), spread=st.floats(0.01, 0.49))
def test_the_total_stays_and_no_unit_leaves_the_range(
    units: list[tuple[float, int]], sparsity: float, spread: float
) -> None:
    losses = [UnitLoss(block, None, *unit) for block, unit in enumerate(units)]
    sparsities = unit_sparsities(losses, sparsity, spread=spread)
    assert all(0 <= one <= MOST for one in sparsities)
    total = math.fsum(one * unit.n_weights for one, unit in zip(sparsities, losses, strict=True))
    assert total / sum(unit.n_weights for unit in losses) == pytest.approx(sparsity, abs=1e-9)
    ordered = sorted(zip(losses, sparsities, strict=True), key=lambda pair: pair[0].loss)
    assert all(one[1] >= other[1] - 1e-9 for one, other in itertools.pairwise(ordered))


@given(units=UNITS, ends=st.tuples(st.floats(0, 0.9999), st.floats(0, 0.9999)), spread=st.floats(0.01, 0.49))
def test_a_higher_sparsity_never_gives_a_unit_a_lower_one(
    units: list[tuple[float, int]], ends: tuple[float, float], spread: float
) -> None:
    losses = [UnitLoss(block, None, *unit) for block, unit in enumerate(units)]
    low, high = (unit_sparsities(losses, end, spread=spread) for end in sorted(ends))
    assert all(one <= other + 1e-11 for one, other in zip(low, high, strict=True))


def test_a_layer_has_the_sparsity_of_its_unit_and_one_that_was_not_probed_that_of_the_model() -> None:
    units = [UnitLoss(1, "fc1", 1.0, 10), UnitLoss(1, "fc2", 3.0, 10)]
    found = [
        layer_sparsity(units, 0.5, block=block, layer=layer, spread=0.1)
        for block, layer in ((1, "fc1"), (1, "fc2"), (1, "k_proj"), (0, "fc1"))
    ]
    assert found == [0.6, 0.4, 0.5, 0.5]
    kinds = [UnitLoss(None, "fc1", 1.0, 10), UnitLoss(None, "fc2", 3.0, 10)]
    assert layer_sparsity(kinds, 0.5, block=7, layer="fc2", spread=0.1) == 0.4


def test_a_scope_includes_the_units_of_which_it_prunes_a_part() -> None:
    scope = Scope((1, 2), ("fc1",))
    units = [UnitLoss(1, None, 0, 1), UnitLoss(0, None, 0, 1), UnitLoss(None, "fc1", 0, 1), UnitLoss(2, "fc2", 0, 1)]
    assert [unit.is_in(scope) for unit in units] == [True, False, True, False]
    assert all(unit.is_in(Scope()) for unit in units)


def test_losses_that_are_missing_or_not_finite_and_wrong_sparsities_are_refused() -> None:
    for units in ([], blocks(1, math.nan)):
        with pytest.raises(StatisticsError):
            unit_sparsities(units, 0.5)
    for sparsity, spread in ((1.0, 0.1), (0.5, 0.5), (0.5, 0.0)):
        with pytest.raises(BadInputError):
            unit_sparsities(blocks(1, 2), sparsity, spread=spread)


def test_losses_that_do_not_differ_from_zero_keep_every_unit_at_the_total() -> None:
    noise = [UnitLoss(block, None, loss, 10, p_value=0.05) for block, loss in enumerate((-7e-8, 6e-7, 1e-7))]
    assert unit_sparsities(noise, 0.4, spread=0.2) == (0.4, 0.4, 0.4)
    assert layer_sparsity(noise, 0.4, block=1, layer="fc1", spread=0.2) == 0.4
    effect = [*noise, UnitLoss(3, None, 2e-3, 10, p_value=0.049)]
    assert len(set(unit_sparsities(effect, 0.4, spread=0.2))) > 1
    with pytest.raises(BadInputError):
        unit_sparsities(noise, 1.0)


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


DLP, ALPHA = ScheduleSpec("dlp", DlpParameters(spread=0.1)), ScheduleSpec("alpha_pruning")
SOME = Scope((0, 2, 3))


@pytest.mark.parametrize(
    ("schedule", "values", "scope", "expected"),
    [
        # r = 2 * 0.1 * (ratio - 0.02) / 0.04 = 0, 0.2, 0.1, 0, whose mean is 0.075
        (OWL, [(0.02,), (0.06,), (0.04,), (0.02,)], Scope(), [0.575, 0.375, 0.475, 0.575]),
        (OWL, [(0.01,), (0.02,), (0.03,), (0.1,)], Scope((2, 3)), [0, 0, 0.6, 0.4]),
        (DLP, [(1.0, 1), (2.0, 1), (3.0, 2)], Scope(), [0.375, 0.475, 0.575]),
        (DLP, [(1.0, 1), (9.0, 1), (3.0, 1), (2.0, 1)], SOME, [0.4, 0.0, 0.6, 0.5]),
        (ALPHA, [(2.0,), (9.0,), (4.0,), (3.0,)], SOME, [0.35, 0.0, 0.65, 0.5]),
    ],
)
def test_schedules_divide_the_total_over_the_blocks_of_the_scope_by_their_values_and_sizes(
    schedule: ScheduleSpec, values: list[tuple[float, ...]], scope: Scope, expected: list[float]
) -> None:
    blocks = [BlockValue(*value) for value in values]
    positions = [LayerPosition(block, "fc1", blocks) for block in range(len(blocks))]
    found = [layer_sparsities((0.5,), position=one, schedule=schedule, scope=scope)[0] for one in positions]
    assert found == pytest.approx(expected, abs=1e-12)
    with refused(StatisticsError, block=2):
        of(2, "fc1", schedule)


SPECS = [
    ScoreSpec("wanda"),
    ScoreSpec("random", "matrix", removes="highest", rounding="binary", score_parameters=RandomParameters(3)),
    ScoreSpec("ria", score_parameters=RiaParameters(0.25)),
    ScoreSpec("sparsegpt", "2:4", score_parameters=SparseGptParameters(0.1)),
    ScoreSpec("ria", "2:4", permute=True),
    StatisticsSelection(),
    StatisticsSelection(
        "target",
        n_demonstrations=3,
        resample_seed=0,
        aggregation="variance",
        aggregation_parameters=VarianceParameters(2.0),
    ),
    StatisticsSelection(aggregation="pooled", shares=(0.25, 0.75)),
    ScheduleSpec(),
    ScheduleSpec("given", GivenParameters(blocks=((0, 0.25), (3, 0.5)), layers=(("fc1", 0.0),))),
    ScheduleSpec("owl", OwlParameters(spread=0.1)),
    Scope(),
    Scope((0, 2), ("fc1", "fc2")),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_specification_comes_back_from_the_json_of_its_id(
    spec: ScoreSpec | StatisticsSelection | ScheduleSpec | Scope,
) -> None:
    back = json.loads(json.dumps(spec.parameters))
    assert type(spec).from_parameters(back) == spec


def test_scores_and_selections_ignore_the_other_parameters_of_a_variant() -> None:
    score, selection = ScoreSpec("ria", score_parameters=RiaParameters(0.7)), StatisticsSelection("source")
    both = {**score.parameters, **selection.parameters, "sparsity": 0.5}
    assert (ScoreSpec.from_parameters(both), StatisticsSelection.from_parameters(both)) == (score, selection)


def test_defaults_are_not_parameters_of_an_id() -> None:
    assert ScoreSpec("ria", score_parameters=RiaParameters()).parameters == {"score": "ria"}
    assert ScoreSpec("random").parameters == {"score": "random"}
    assert StatisticsSelection(aggregation="variance").parameters == {"aggregation": "variance"}
    assert ScheduleSpec("owl").parameters == {"kind": "owl"}
    assert StatisticsSelection().parameters == ScheduleSpec().parameters == Scope().parameters == {}


def test_a_method_takes_its_own_parameters_and_no_others() -> None:
    assert ScoreSpec("ria").score_parameters == RiaParameters()
    with pytest.raises(TypeError):
        ScoreSpec("ria", score_parameters=SparseGptParameters())


def test_a_scope_includes_what_both_its_parts_include() -> None:
    scope = Scope((1, 2), ("fc1",))
    result = {(block, layer) for block in range(4) for layer in ("fc1", "fc2") if scope.includes(block, layer)}
    assert result == {(1, "fc1"), (2, "fc1")}
    assert all(Scope().includes(block, "fc2") for block in range(3))
    assert [Scope((1,)).includes(block, "x") for block in (0, 1)] == [False, True]
