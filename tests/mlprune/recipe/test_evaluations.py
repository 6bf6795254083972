"""Evaluations, data sets and baselines of a recipe."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from tests.refusals import refused
from tests.valid_recipe import GOOD

OWN: dict[str, Any] = {"name": "some/nli", "files": "{config}/{split}-*.parquet"}
XNLI = {"task": "xnli", "path": "hub:some/nli@v1", "languages": ["fr"]}


def parsed(*data_sets: dict[str, Any], **evaluation: Any) -> Recipe:
    recipe = {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}, "evaluations": [{**XNLI, **evaluation}]}
    return parse_recipe({**recipe, "data_sets": list(data_sets)}, folder=Path())


def test_one_file_or_column_is_a_list_of_one_and_mappings_are_pairs() -> None:
    (result,) = parsed({**OWN, "id": "doc", "columns": {"premise": "a"}, "configs": {"zho_Hant": "tw"}}).data_sets
    assert (result.files, result.id) == (("{config}/{split}-*.parquet",), ("doc",))
    assert (result.columns, result.configs) == ((("premise", "a"),), (("zh-Hant", "tw"),))
    assert result.splits == (("dev", "validation"), ("test", "test"))
    assert hash(result) == hash(
        parsed({**OWN, "id": ["doc"], "columns": {"premise": "a"}, "configs": {"zh-Hant": "tw"}}).data_sets[0]
    )


@pytest.mark.parametrize(
    ("own", "evaluation", "parts"),
    [
        ({**OWN, "files": "load.py"}, {}, ["key='data_sets.0'", "wrong files", "got='load.py'"]),
        (OWN, {"task": "perplexity"}, ["parallel text from a folder", "hub:some/nli@v1"]),
        ({**OWN, "name": OWN["name"]}, {"task": "translation", "languages": [], "pairs": ["fr-en"]}, ["parallel text"]),
    ],
)
def test_a_wrong_data_set_is_one_line_with_key_and_value(
    own: dict[str, Any], evaluation: dict[str, Any], parts: list[str]
) -> None:
    with refused(RecipeError) as caught:
        parsed(own, **evaluation)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_a_data_set_is_described_once() -> None:
    with pytest.raises(RecipeError, match=r"two data sets have the same name.*some/nli"):
        parsed(OWN, {**OWN, "id": "doc"})


MOOD = {"name": "mood", "template": "{text} {candidate}", "answer": "label", "labels": ["bad", "good"]}
EVALUATIONS_XNLI = {"task": "xnli", "path": "xnli", "languages": ["fr"]}
FRENCH = {"name": "fr", "kind": "monolingual", "language": "fr"}
PAIR = {"name": "fr-en", "kind": "translation", "pair": "fr-en"}
MIXED = {"name": "all", "kind": "mixed", "parts": ["fr"]}
TRANSLATION = {"task": "translation", "path": "corpus", "pairs": ["fr-en"]}


def evaluations_parsed(*evaluations: dict[str, Any], **sections: Any) -> Recipe:
    recipe = {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}, "evaluations": list(evaluations)}
    return parse_recipe({**recipe, **sections}, folder=Path())


def one(**changes: Any) -> EvaluationConfig:
    return evaluations_parsed({**EVALUATIONS_XNLI, **changes}).evaluations[0]


def test_one_value_is_a_list_of_one() -> None:
    assert (one().rule, one().prompt_language, one().shot_seed) == (("mean",), ("en",), None)
    result = one(rule="pmi", prompt_language=["en", "native"])
    assert (result.rule, result.prompt_language) == (("pmi",), ("en", "native"))
    assert evaluations_parsed({**TRANSLATION, "shot_seed": [0, 1]}).evaluations[0].shot_seed == (0, 1)


def test_evaluations_may_name_the_recipes_own_tasks() -> None:
    recipe = evaluations_parsed({**EVALUATIONS_XNLI, "task": "mood", "rule": ["mean", "pmi"]}, tasks=[MOOD])
    result = recipe.template_task(recipe.evaluations[0].task)
    assert result is not None
    assert result.labels == ("bad", "good")
    assert recipe.template_task("xnli") is None


def test_overlaps_have_the_papers_share_by_default() -> None:
    assert evaluations_parsed().analyses.overlap_shares == (0.3,)
    assert evaluations_parsed(analyses={"overlap_shares": [0.1, 0.5]}).analyses.overlap_shares == (0.1, 0.5)


def test_neurons_are_counted_over_sets_of_several_languages() -> None:
    assert evaluations_parsed().analyses.neurons == ()
    several = {**FRENCH, "language": ["fr", "sw"]}
    assert evaluations_parsed(analyses={"neurons": ["fr"]}, demonstrations=[several]).analyses.neurons == ("fr",)


@pytest.mark.parametrize(
    ("evaluation", "sections", "parts"),
    [
        ({**EVALUATIONS_XNLI, "task": "moood"}, {"tasks": [MOOD]}, ["evaluations.0.task", "moood", "nearest='mood'"]),
        ({**EVALUATIONS_XNLI, "task": "mood"}, {}, ["evaluations.0.task", "got='mood'"]),
        (EVALUATIONS_XNLI, {"tasks": [MOOD, MOOD]}, ["the same name"]),
        (EVALUATIONS_XNLI, {"tasks": [{**MOOD, "name": "xnli"}]}, ["is a built-in task"]),
        (EVALUATIONS_XNLI, {"tasks": [{**MOOD, "name": "my mood"}]}, ["tasks.0.name"]),
        ({**EVALUATIONS_XNLI, "rule": ["mean", "mean"]}, {}, ["several different ones"]),
        ({**EVALUATIONS_XNLI, "split_by": "clusters"}, {}, ["split_by applies to path corpus"]),
        ({**TRANSLATION, "aligned": False}, {}, ["aligned applies to task files", "got path 'corpus'"]),
        ({**EVALUATIONS_XNLI, "path": "hub:a/b", "aligned": False}, {}, ["aligned applies", "data_sets"]),
        (EVALUATIONS_XNLI, {"analyses": {"overlap_shares": []}}, ["several different ones"]),
        (EVALUATIONS_XNLI, {"analyses": {"neuron_variants": ["w"]}}, ["key='analyses.neuron_variants'", "got='w'"]),
        (EVALUATIONS_XNLI, {"analyses": {"neurons": ["fr"]}}, ["key='analyses.neurons'", "got='fr'"]),
        (
            EVALUATIONS_XNLI,
            {"analyses": {"layer_errors": {"demonstrations": ["fr"]}}},
            ["key='analyses.layer_errors.demonstrations'", "got='fr'"],
        ),
        (
            EVALUATIONS_XNLI,
            {"analyses": {"layer_errors": {"demonstrations": ["fr"], "variants": ["w"]}}, "demonstrations": [FRENCH]},
            ["key='analyses.layer_errors.variants'", "got='w'"],
        ),
        (
            EVALUATIONS_XNLI,
            {"analyses": {"layer_errors": {"demonstrations": []}}},
            ["analyses.layer_errors.demonstrations"],
        ),
        (EVALUATIONS_XNLI, {"analyses": {"neurons": ["fr"]}, "demonstrations": [FRENCH]}, ["compares languages"]),
        (EVALUATIONS_XNLI, {"analyses": {"neurons": ["fr-en"]}, "demonstrations": [PAIR]}, ["one language", "fr-en"]),
        (
            EVALUATIONS_XNLI,
            {"analyses": {"neurons": ["all"]}, "demonstrations": [FRENCH, MIXED]},
            ["one language", "mixed"],
        ),
    ],
)
def test_a_wrong_evaluation_is_one_line_with_key_and_value(
    evaluation: dict[str, Any], sections: dict[str, Any], parts: list[str]
) -> None:
    with refused(RecipeError) as caught:
        evaluations_parsed(evaluation, **sections)
    for part in parts:
        assert part in str(caught.value)


def test_the_paper_profile_is_for_tasks_and_rules_of_the_published_code() -> None:
    assert evaluations_parsed({**EVALUATIONS_XNLI, "profile": ["corrected", "paper"]}).evaluations[0].profile == (
        "corrected",
        "paper",
    )
    assert evaluations_parsed(EVALUATIONS_XNLI).evaluations[0].profile == ("corrected",)
    perplexity = {"task": "perplexity", "path": "corpus", "languages": ["fr"], "profile": "paper"}
    for entry, words in (
        (perplexity, ["profile paper", "perplexity"]),
        ({**EVALUATIONS_XNLI, "profile": "paper", "rule": ["mean", "pmi"]}, ["rule mean", "pmi"]),
        ({**EVALUATIONS_XNLI, "profile": ["paper", "paper"]}, ["profile", "different"]),
        ({**EVALUATIONS_XNLI, "profile": "published"}, ["profile", "published"]),
    ):
        with pytest.raises(RecipeError) as caught:
            evaluations_parsed(entry)
        assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    "evaluation",
    [
        {**EVALUATIONS_XNLI, "languages": ["en", "en"]},
        {**EVALUATIONS_XNLI, "languages": ["en", "eng_Latn"]},
        {**TRANSLATION, "pairs": ["fr-en", "fra_Latn-eng_Latn"]},
    ],
)
def test_a_language_is_evaluated_once(evaluation: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="different"):
        evaluations_parsed(evaluation)


SMALL: dict[str, Any] = {"name": "small", "kind": "model", "path": "small"}

LRP2: dict[str, Any] = {"name": "lrp2", "kind": "lrp2", "demonstrations": "mono"}


def parsed_baselines(*baselines: dict[str, Any], **sections: Any) -> Recipe:
    return parse_recipe({**GOOD, "baselines": list(baselines), **sections}, folder=Path())


def test_the_dtype_of_another_model_defaults_to_that_of_the_recipe() -> None:
    (plain,), (other,) = (
        parsed_baselines(one).baselines for one in (SMALL, {**SMALL, "dtype": "bf16", "revision": "a"})
    )
    assert (plain.path, plain.revision, plain.dtype) == ("small", "main", None)
    assert (other.revision, other.dtype) == ("a", "bfloat16")


def test_layers_are_searched_or_a_pair_or_several() -> None:
    written = (None, [1, 3], [[0, 1], [1, 3]])
    entries = [LRP2 if one is None else {**LRP2, "layers": one} for one in written]
    assert [parsed_baselines(one).baselines[0].layers for one in entries] == ["search", ((1, 3),), ((0, 1), (1, 3))]


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        ([{"kind": "model"}], "kind model needs path"),
        ([{"kind": "lrp2"}], "kind lrp2 needs demonstrations"),
        ([{**LRP2, "demonstrations": "non"}], "key='baselines.0.demonstrations', got='non'"),
        ([{**LRP2, "split": "test"}], "cannot be chosen on split test"),
        ([{**LRP2, "layers": [2, 1]}], "the lower block of a pair comes first"),
        ([{**LRP2, "layers": [[0, 1], [1, 1]]}], "the lower block of a pair comes first"),
        ([{**LRP2, "layers": []}], "needs a pair"),
        ([{**LRP2, "layers": [0, 1, 2]}], "baselines.0.layers"),
        ([SMALL, SMALL], "the same name as another entry: 'small'"),
        ([{**SMALL, "against": ["smal"]}], "key='baselines.0.against', got='smal'"),
        ([{**SMALL, "against": ["small"]}], "key='baselines.0.against', got='small'"),
    ],
)
def test_a_wrong_baseline_is_refused_in_one_line(baselines: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parsed_baselines(*baselines)


def test_variants_and_evaluations_may_name_a_baseline_and_no_variant_may_have_its_name() -> None:
    variant: dict[str, Any] = {"name": "m", "score": "magnitude", "sparsity": 0.5, "against": ["small"]}
    evaluation = {"task": "xnli", "path": "xnli", "languages": ["en"], "variants": ["small"]}
    result = parsed_baselines(SMALL, variants=[variant], evaluations=[evaluation])
    assert result.evaluations[0].variants == ("small",)
    assert [against.name for against in result.variants[0].against] == ["small"]
    with pytest.raises(RecipeError, match="the same name as another entry"):
        parsed_baselines(SMALL, variants=[{**variant, "name": "small", "against": []}])


def test_files_without_a_language_are_read_for_one_language_of_a_path() -> None:
    tasks = [{**MOOD, "files": "{split}.jsonl"}]
    own = {"task": "mood", "path": "a", "languages": ["fr"]}
    assert (
        len(
            evaluations_parsed(
                own, {**own, "split": "dev"}, {**own, "path": "b", "languages": ["sw"]}, tasks=tasks
            ).evaluations
        )
        == 3
    )
    for others in ([{**own, "languages": ["fr", "sw"]}], [own, {**own, "languages": ["sw"], "split": "dev"}]):
        with refused(RecipeError, task="mood", path="a", got=["fr", "sw"]):
            evaluations_parsed(*others, tasks=tasks)
    hub = {"task": "mood", "path": "hub:a/b", "languages": ["fr", "sw"]}
    assert evaluations_parsed(hub, tasks=tasks).evaluations
    with refused(RecipeError, task="mood", got="hub:a/b"):
        evaluations_parsed(hub, tasks=[{**MOOD, "skip": {"label": "-"}}])
