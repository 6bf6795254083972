"""Variants of a recipe: defaults, equivalent forms, schedules, scopes and contradicting keys."""

from typing import Any

import pytest

from mlprune.errors import BadInputError, RecipeError
from mlprune.methods import AlphaPruningParameters, DlpParameters, OwlParameters
from mlprune.recipe.variants import VariantConfig
from tests.recipe_sections import ODD_VALUES
from tests.refusals import refused
from tests.valid_recipe import DELETED, GOOD, changed, parse, with_keys


def entry(**keys: Any) -> VariantConfig:
    """The wanda variant of the good recipe, with some keys changed."""
    return parse(with_keys("variants.0", **keys)).variants[0]


def test_a_variant_of_score_and_sparsity_alone_is_the_method_of_the_paper() -> None:
    one = entry()
    assert (one.group, one.propagation, one.removes, one.profile, one.tokens) == (
        "row",
        "sequential",
        "lowest",
        "corrected",
        "all",
    )
    assert (one.schedule.kind, one.scope.blocks, one.scope.layers) == ("uniform", (), ())
    assert (one.samples, one.resample, one.aggregate, one.over, one.shares) == (None, None, None, (), ())


def test_reconstructions_have_matrix_as_their_default_structure() -> None:
    assert (entry(score="ria").group, entry(score="sparsegpt").group) == ("row", "matrix")
    assert entry(score="alps").group == "matrix"
    assert entry(score="sparsegpt", structure="2:4").group == "2:4"


@pytest.mark.parametrize(("structure", "sparsity"), [("2:4", 0.5), ("4:8", 0.5), ("1:4", 0.25), ("1:3", 1 / 3)])
def test_n_of_m_implies_its_sparsity(structure: str, sparsity: float) -> None:
    value = changed("variants.0.structure", structure)
    del value["variants"][0]["sparsity"]
    assert parse(value).variants[0].sparsity == sparsity
    value["variants"][0]["sparsity"] = sparsity
    assert parse(value).variants[0].sparsity == sparsity


def test_sparsity_zero_and_scores_without_statistics_need_no_demonstrations() -> None:
    value = changed("variants.0.sparsity", 0)
    del value["variants"][0]["demonstrations"]
    assert parse(value).variants[0].sparsity == 0
    assert parse(changed("variants.2.demonstrations", "mt")).variants[2].demonstrations == "mt"


def test_entries_with_mappings_and_lists_hash() -> None:
    value = with_keys("variants.0", schedule={"blocks": {0: 0.2}}, scope={"layers": ["fc1"]})
    assert isinstance(hash(parse(value)), int)


BAD: list[tuple[str, Any, list[str]]] = [
    ("variants.1.sparsitty", 0.5, ["unknown key", "variants.1.sparsitty", "nearest='sparsity'"]),
    ("variants.0.score", DELETED, ["key='variants.0'", "needs a score"]),
    ("variants.0.sparsity", DELETED, ["key='variants.0'", "needs a sparsity"]),
    ("variants.0.sparsity", [0.1, 50], ["key='variants.1.sparsity'", "got=50"]),
    ("variants.0.structure", "4:2", ["0 < N < M", "4:2"]),
    ("variants.0.structure", "4:4", ["0 < N < M"]),
    ("variants.0.structure", "0:4", ["0 < N < M"]),
    ("variants.0.structure", "a:b", ["0 < N < M"]),
    ("variants.0.structure", "1:4", ["sparsity 0.25, got 0.5"]),
    ("variants.0.demonstrations", DELETED, ["wanda needs demonstrations"]),
    ("variants.0.demonstrations", "mtt", ["demonstrations", "got='mtt'", "nearest='mt'"]),
    ("variants.0.contrast", "code", ["no other score takes it"]),
    ("variants.1.contrast", DELETED, ["contrast needs contrast"]),
    ("variants.1.contrast", "cod", ["contrast", "got='cod'", "nearest='code'"]),
    ("variants.1.name", "wanda", ["two entries have the same name", "got='wanda'"]),
    ("variants.2.against", ["wandb"], ["against", "got='wandb'", "nearest='wanda'"]),
    ("variants.2.seed", 2**63, ["key='variants.2.seed'", "2**63"]),
    ("variants.0.score", "wand", ["nearest='wanda'"]),
    ("variants.0.name", ["a", {}], ["key='variants.1.name'"]),
    ("variants.0.structure", "2:", ["0 < N < M"]),
    ("variants.0.over", ["mt", "mono"], ["wanda needs demonstrations, or over with several sets, and not both"]),
    ("variants.0.aggregate", "mean", ["over and aggregate go together"]),
    ("variants.0.shares", [1, 2], ["shares are weights for aggregate mean or pooled, got aggregate None"]),
    ("variants.0.combine", "union", ["combine and of go together, got combine alone"]),
    ("variants.0.of", ["random"], ["combine and of go together, got of alone"]),
    ("variants.0.against", ["wanda", "nobody"], ["against", "got='nobody'"]),
    ("variants.0.schedule", "given", ["schedule given takes blocks, layers or block_layers"]),
    ("variants.0.schedule", {"kind": "owl", "blocks": {0: 0.5}}, ["no other schedule takes them"]),
    ("variants.0.schedule", {"kind": "uniform", "layers": {"fc1": 0.5}}, ["no other schedule takes them"]),
    ("variants.0.schedule", {"blocks": {}}, ["schedule given takes blocks, layers or block_layers"]),
    ("variants.0.schedule", {"block_layers": {"fc1": 0.5}}, ["such as 3.self_attn.q_proj", "got 'fc1'"]),
    ("variants.0.schedule", {"block_layers": {"03.fc1": 0.5}}, ["such as 3.self_attn.q_proj", "got '03.fc1'"]),
    ("variants.0.scope", {"blocks": "6-4"}, ["key='variants.0.scope.blocks'", "the lower first, got '6-4'"]),
    ("variants.1.over", ["mt", "mono"], ["contrast needs demonstrations, or over with several sets, and not both"]),
    ("variants.1.score", "wanda", ["score contrast needs contrast, and no other score takes it"]),
    ("variants.2.schedule", "owl", ["schedule owl reads demonstrations, and score random has none"]),
    ("variants.2.sparsity", DELETED, ["needs a sparsity"]),
    ("variants.3.combine", DELETED, ["combine and of go together, got of alone"]),
    ("variants.3.of", DELETED, ["combine and of go together, got combine alone"]),
    ("variants.3.of", [], ["combine and of go together, got combine alone"]),
    ("variants.3.of", ["wanda", "wonda"], ["of", "got='wonda'", "nearest='wanda'"]),
    ("variants.3.of", ["wanda", "both"], ["of", "got='both'"]),
    ("variants.3.of", ["wanda", "wanda"], ["of names an entry twice"]),
    ("variants.3.score", "wanda", ["combination takes", "not score"]),
    ("variants.4.over", ["mt", "mona"], ["over", "got='mona'", "nearest='mono'"]),
    ("variants.4.over", [], ["wanda needs demonstrations, or over"]),
    ("variants.4.aggregate", DELETED, ["over and aggregate go together"]),
    ("variants.4.aggregate", ["mean", "sum"], ["key='variants.5.aggregate'", "got='sum'"]),
]


@pytest.mark.thorough("tries every key of a recipe")
@pytest.mark.parametrize(("place", "value", "parts"), BAD, ids=[f"{place}={value}" for place, value, _ in BAD])
def test_a_bad_variant_is_refused_in_one_line_with_key_and_value(place: str, value: Any, parts: list[str]) -> None:
    assert_one_line(changed(place, value), parts)


def assert_one_line(value: dict[str, Any], parts: list[str]) -> None:
    parse(GOOD)
    with refused(RecipeError, where="recipe") as caught:
        parse(value)
    text = str(caught.value)
    assert isinstance(caught.value, BadInputError)
    assert "key=" in text
    for part in parts:
        assert part in text


TOGETHER: list[tuple[dict[str, Any], list[str]]] = [
    ({"structure": "2:4", "schedule": "owl"}, ["schedule uniform"]),
    ({"structure": "2:4", "schedule": {"layers": {"fc1": 0.5}}}, ["schedule uniform"]),
    ({"structure": "2:4", "sparsity": 0.4}, ["has sparsity 0.5, got 0.4"]),
    ({"score": "wanda_plus_plus", "samples": 2}, ["reads gradients of whole sets: leave samples out"]),
    ({"permute": True}, ["permute needs structure N:M, as in 2:4, got row"]),
    ({"permute": True, "structure": "2:4", "score": "sparsegpt"}, ["keeps weights as they are, got sparsegpt"]),
    ({"permute": True, "structure": "2:4", "removes": "highest"}, ["permute needs removes: lowest, got highest"]),
    ({"profile": "paper", "tokens": "target"}, ["paper counts all tokens"]),
    ({"sparsity": 0, "schedule": {"blocks": {0: 0.5}}}, ["sparsity 0 is the dense model"]),
    ({"score": "magnitude", "schedule": "owl"}, ["schedule owl reads demonstrations, and score magnitude"]),
    ({"score": "sparsegpt", "structure": "alpha"}, ["sparsegpt takes structure matrix or row or N:M, got alpha"]),
    ({"score": "sparsegpt", "removes": "highest"}, ["sparsegpt needs removes: lowest, got highest"]),
    ({"score": "sparsegpt", "samples": 3}, ["score sparsegpt reads products of whole sets: leave samples out"]),
    ({"score": "sparsegpt", "resample": 3}, ["score sparsegpt reads products of whole sets: leave resample out"]),
    (
        {"score": "sparsegpt", "demonstrations": None, "over": ["mt", "mono"], "aggregate": "max"},
        ["sparsegpt over several sets needs aggregate: mean", "got max"],
    ),
    (
        {"demonstrations": None, "over": ["mt", "mono"], "aggregate": "max", "shares": [1, 2]},
        ["shares are weights for aggregate mean or pooled, got aggregate max"],
    ),
    (
        {"demonstrations": None, "over": ["mt", "mono"], "aggregate": "variance", "variance_weight": -1},
        ["variants.0.variance_weight", "got=-1"],
    ),
]


@pytest.mark.parametrize(("keys", "parts"), TOGETHER, ids=[str(keys) for keys, _ in TOGETHER])
def test_contradicting_keys_are_refused_in_one_line(keys: dict[str, Any], parts: list[str]) -> None:
    assert_one_line(with_keys("variants.0", **keys), parts)


@pytest.mark.parametrize(
    "keys",
    [
        {"resample": 0},
        {"score": "sparsegpt", "sparsity": 0, "removes": "highest"},
        {"score": "sparsegpt", "propagation": "dense"},
        {"score": "alps", "demonstrations": None, "over": ["mt", "mono"], "aggregate": "mean", "shares": [1, 2]},
        {"structure": "matrix", "removes": "highest"},
        {"structure": "alpha", "schedule": {"layers": {"fc1": 0.25}}},
        {"profile": "paper", "structure": "2:4"},
        {"score": "ria", "structure": "2:4", "permute": [True, False]},
        {"score": "ria", "power": 1, "tokens": "target", "samples": 3, "resample": 1},
        {"score": "contrast", "contrast": "code", "schedule": "owl"},
        {"demonstrations": None, "over": ["mt"], "aggregate": "pooled", "shares": [1, 2]},
        {"score": "magnitude", "demonstrations": ["mt", "mono"], "propagation": ["dense", "sequential"]},
    ],
)
def test_meaningful_combinations_of_keys_are_accepted(keys: dict[str, Any]) -> None:
    assert entry(**keys).score is not None


def complaint(value: dict[str, Any]) -> RecipeError | None:
    """The error of a recipe; None if it is valid. Other exceptions are not caught."""
    try:
        parse(value)
    except RecipeError as err:
        return err
    return None


@pytest.mark.thorough("tries every key of a recipe")
def test_every_value_of_every_key_gives_a_recipe_or_one_line() -> None:
    for key in sorted({*VariantConfig.model_fields, "exclude"}):
        wrong = [
            err for value in ODD_VALUES[::4] if (err := complaint(with_keys("variants.0", **{key: value}))) is not None
        ]
        assert wrong
        assert all(len(str(err).splitlines()) == 1 and {"where", "key"} <= set(err.context) for err in wrong)


def test_a_schedule_is_a_name_or_a_mapping_and_blocks_or_layers_imply_given() -> None:
    assert entry(schedule="owl").schedule == entry(schedule={"kind": "owl"}).schedule
    assert entry(schedule="owl").schedule.method_parameters == OwlParameters(5.0, 0.08)
    assert entry(schedule={"kind": "dlp", "spread": 0.1}).schedule.method_parameters == DlpParameters("mean", 0.1)
    wide = entry(schedule={"kind": "alpha_pruning", "spread": 0.6}).schedule.method_parameters
    assert wide == AlphaPruningParameters("peak", 0.6)
    given = entry(schedule={"blocks": {1: 0.6, 0: 0.2}, "layers": {"fc2": 0.1, "fc1": 0.3}}).schedule
    assert (given.kind, given.blocks, given.layers) == ("given", ((0, 0.2), (1, 0.6)), (("fc1", 0.3), ("fc2", 0.1)))


def test_blocks_are_numbers_and_spans() -> None:
    assert entry(scope={"blocks": [0, "4-6", 9]}).scope.blocks == (0, 4, 5, 6, 9)
    assert entry(scope={"without_blocks": "2-2"}).scope.without_blocks == (2,)
    assert entry(scope={"blocks": 3}).scope.blocks == (3,)


def test_from_alone_is_schedule_sensitivity_with_its_keys() -> None:
    schedule = entry(schedule={"from": "where", "by": "layer", "group": "script:Latn"}).schedule
    assert (schedule.kind, schedule.source, schedule.by, schedule.at) == ("sensitivity", "where", "layer", None)
    assert (schedule.method_parameters.group, schedule.method_parameters.spread) == ("script:Latn", 0.08)


@pytest.mark.parametrize(
    "schedule",
    [{"kind": "sensitivity"}, {"kind": "owl", "from": "where"}, {"group": "all"}, {"from": "w", "group": "?"}],
)
def test_keys_of_losses_belong_to_schedule_sensitivity(schedule: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        entry(schedule=schedule)
