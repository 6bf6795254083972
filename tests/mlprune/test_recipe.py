"""Recipes: what a good one becomes, and the one line that every bad one ends with."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlprune.errors import BadInputError, RecipeError
from mlprune.recipe import AUTO_BATCH_TOKENS, EvaluationConfig, Recipe, expanded, load_recipe, parse_recipe

CONTRACT = """\
name: xglm-fr-es
model: {path: facebook/xglm-564M, revision: main, dtype: float32}   # or a local directory
corpus: {kind: parallel_text, path: flores/}
demonstrations:
  - {name: fr-en, kind: translation, source: fr, target: en, shots: 4, samples: 100, max_tokens: 512, seed: 0}
  - {name: fr,    kind: monolingual, language: fr, shots: 4, samples: 100, max_tokens: 512, seed: 0}
  - {name: py,    kind: code, path: src/, samples: 100, max_tokens: 512, seed: 0}
variants:
  - {demonstrations: fr-en, score: wanda, sparsity: [0.1, 0.3, 0.5], structure: row, propagation: sequential}
  - {demonstrations: fr-en, contrast: py, score: contrast, sparsity: [0.3], structure: row, propagation: dense}
evaluations:
  - {task: xnli, path: xnli/, languages: [en, fr, es], split: test, limit: 1000}
compute: {replicas: 1, shards: 1, memory_gib_per_actor: 6, batch_tokens: 4096}
"""

GOOD: dict[str, Any] = {
    "name": "good",
    "model": {"path": "model"},
    "corpus": {"kind": "cldr"},
    "demonstrations": [
        {"name": "mt", "kind": "translation", "source": "fr", "target": "en"},
        {"name": "mono", "kind": "monolingual", "language": "fr"},
        {"name": "code", "kind": "code", "path": "src"},
        {"name": "mixed", "kind": "mixed", "parts": ["mt", "code"]},
    ],
    "variants": [
        {"name": "wanda", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5},
        {"name": "contrast", "demonstrations": "mt", "contrast": "code", "score": "contrast", "sparsity": 0.5},
        {"name": "random", "score": "random", "sparsity": 0.5, "against": ["wanda"]},
    ],
    "evaluations": [
        {"task": "facts", "path": "corpus", "languages": ["en", "fr"]},
        {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "variants": ["wanda"]},
    ],
    "compute": {},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """The good recipe with another value at a place such as `variants.0.sparsity`; DELETED takes the key away."""
    recipe: Any = copy.deepcopy(GOOD)
    *way, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    entry = recipe
    for step in way:
        entry = entry[step]
    if value is DELETED:
        del entry[last]
    else:
        entry[last] = value
    return dict(recipe)


DELETED = object()


def parse(value: dict[str, Any]) -> Recipe:
    return parse_recipe(value, folder=Path("/recipes"))


# Good ones


def test_the_recipe_of_the_contract_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(CONTRACT)
    recipe = load_recipe(path)
    assert [(one.score, one.sparsity) for one in recipe.variants] == [
        ("wanda", 0.1),
        ("wanda", 0.3),
        ("wanda", 0.5),
        ("contrast", 0.3),
    ]
    assert recipe.resolve("flores/") == tmp_path / "flores"
    assert recipe.resolve("/data/x") == Path("/data/x")
    assert (recipe.compute.replicas, recipe.compute.planned_batch_tokens) == (1, 4096)
    assert recipe.evaluations[0].languages == ("en", "fr", "es")


def test_what_may_be_left_out_has_its_default() -> None:
    recipe = parse({key: GOOD[key] for key in ("name", "model", "corpus")})
    assert (recipe.demonstrations, recipe.variants, recipe.evaluations) == ((), (), ())
    assert (recipe.model.revision, recipe.model.dtype) == ("main", "float32")
    assert recipe.compute.replicas == "auto"
    assert recipe.compute.planned_batch_tokens == AUTO_BATCH_TOKENS
    entry = parse(GOOD).demonstrations[0]
    assert (entry.shots, entry.samples, entry.max_tokens, entry.seed) == (4, 100, 512, 0)
    assert (parse(GOOD).variants[0].structure, parse(GOOD).variants[0].propagation) == ("row", "sequential")


def test_a_recipe_is_frozen_and_leaves_the_mapping_it_was_read_from_alone() -> None:
    value = copy.deepcopy(GOOD)
    recipe = parse(value)
    assert value == GOOD
    with pytest.raises(ValidationError):
        recipe.name = "other"  # type: ignore[misc]
    assert isinstance(hash(recipe), int)


def test_lists_multiply_out_with_the_last_key_fastest() -> None:
    entry = {"sparsity": [0.1, 0.2], "score": "random", "seed": [0, 1], "against": ["a", "b"], "parts": ["c", "d"]}
    found = [(one["sparsity"], one["seed"]) for one in expanded(entry)]
    assert found == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]
    assert all((one["against"], one["parts"]) == (["a", "b"], ["c", "d"]) for one in expanded(entry))


def test_a_name_whose_entry_multiplied_refers_to_all_its_sets() -> None:
    recipe = parse(changed("demonstrations.0.source", ["fr", "sw", "zho_Hans"]))
    assert [one.source for one in recipe.sets_named("mt")] == ["fr", "sw", "zh"]


def test_evaluations_do_not_multiply() -> None:
    assert len(parse(GOOD).evaluations) == 2


def test_languages_become_stored_tags_everywhere() -> None:
    recipe = parse(changed("demonstrations.1.language", "zho_Hant"))
    assert recipe.demonstrations[1].language == "zh-Hant"
    recipe = parse(changed("evaluations.0.languages", ["eng_Latn", "arb_Arab"]))
    assert recipe.evaluations[0].languages == ("en", "ar")


@pytest.mark.parametrize(
    ("pair", "sides"),
    [
        ("fr-en", ("fr", "en")),
        ("fra_Latn-eng_Latn", ("fr", "en")),
        ("zho_Hant-en", ("zh-Hant", "en")),
        ("zh-Hant-en", ("zh-Hant", "en")),
        ("en-zh-Hant", ("en", "zh-Hant")),
        ("zh-zh-Hant", ("zh", "zh-Hant")),
        ("ace-en", ("ace", "en")),
    ],
)
def test_a_pair_is_two_tags(pair: str, sides: tuple[str, str]) -> None:
    assert EvaluationConfig.pair_languages(pair) == sides


@pytest.mark.parametrize(("structure", "sparsity"), [("2:4", 0.5), ("4:8", 0.5), ("1:4", 0.25), ("1:3", 1 / 3)])
def test_n_of_m_implies_its_sparsity(structure: str, sparsity: float) -> None:
    value = changed("variants.0.structure", structure)
    del value["variants"][0]["sparsity"]
    assert parse(value).variants[0].sparsity == sparsity
    value["variants"][0]["sparsity"] = sparsity
    assert parse(value).variants[0].sparsity == sparsity


def test_n_of_m_needs_no_quotation_marks(tmp_path: Path) -> None:
    text = CONTRACT.replace("sparsity: [0.1, 0.3, 0.5], structure: row", "structure: [2:4, 4:8]")
    assert text != CONTRACT
    (tmp_path / "r.yaml").write_text(text)
    assert [one.structure for one in load_recipe(tmp_path / "r.yaml").variants[:2]] == ["2:4", "4:8"]


def test_yaml_anchors_and_merges_still_work(tmp_path: Path) -> None:
    text = CONTRACT.replace("  - {name: fr, ", "  - &mono {name: fr, ")
    text = text.replace("variants:\n", "  - {<<: *mono, name: es, language: es}\nvariants:\n")
    (tmp_path / "r.yaml").write_text(text)
    assert [one.language for one in load_recipe(tmp_path / "r.yaml").demonstrations] == [None, "fr", None, "es"]


def test_sparsity_zero_and_scores_without_statistics_need_no_demonstrations() -> None:
    value = changed("variants.0.sparsity", 0)
    del value["variants"][0]["demonstrations"]
    assert parse(value).variants[0].sparsity == 0
    assert parse(changed("variants.2.demonstrations", "mt")).variants[2].demonstrations == "mt"


# Bad ones

BAD: list[tuple[str, Any, list[str]]] = [
    ("nmae", "x", ["unknown key", "nearest='name'"]),
    ("model.revison", "main", ["unknown key", "model.revison", "nearest='revision'"]),
    ("corpus.pth", "x", ["unknown key", "nearest='path'"]),
    ("demonstrations.0.sample", 3, ["unknown key", "nearest='samples'"]),
    ("variants.1.sparsitty", 0.5, ["unknown key", "variants.1.sparsitty", "nearest='sparsity'"]),
    ("evaluations.0.lnguages", ["en"], ["unknown key", "nearest='languages'"]),
    ("compute.replica", 1, ["unknown key", "nearest='replicas'"]),
    ("folder", "/x", ["unknown key", "folder"]),
    ("name", DELETED, ["key='name'", "required"]),
    ("name", "", ["key='name'"]),
    ("name", 3, ["key='name'", "string", "got=3"]),
    ("name", None, ["key='name'"]),
    ("model", DELETED, ["key='model'", "required"]),
    ("model", "facebook/xglm-564M", ["key='model'"]),
    ("model.path", DELETED, ["key='model.path'"]),
    ("model.path", "", ["key='model.path'"]),
    ("model.dtype", "float64", ["key='model.dtype'", "got='float64'"]),
    ("corpus", DELETED, ["key='corpus'"]),
    ("corpus.kind", "flores", ["key='corpus.kind'", "got='flores'"]),
    ("corpus.kind", "parallel_text", ["parallel_text needs a path"]),
    ("corpus.path", "x", ["cldr takes none"]),
    ("corpus.lines", 0, ["key='corpus.lines'", "got=0"]),
    ("corpus.lines", 5001, ["key='corpus.lines'", "got=5001"]),
    ("demonstrations", {"name": "x"}, ["key='demonstrations'"]),
    ("demonstrations", "mt", ["key='demonstrations'"]),
    ("demonstrations.0", "mt", ["key='demonstrations.0'"]),
    ("demonstrations.0.kind", "parallel", ["key='demonstrations.0.kind'", "got='parallel'"]),
    ("demonstrations.0.kind", DELETED, ["key='demonstrations.0.kind'"]),
    ("demonstrations.0.target", DELETED, ["translation takes ['source', 'target']"]),
    ("demonstrations.0.target", "fra_Latn", ["source and target are both fr"]),
    ("demonstrations.0.language", "fr", ["translation takes"]),
    ("demonstrations.1.source", "fr", ["monolingual takes ['language']"]),
    ("demonstrations.1.language", 7, ["key='demonstrations.1.language'"]),
    ("demonstrations.1.language", False, ["key='demonstrations.1.language'"]),
    ("demonstrations.2.path", DELETED, ["code takes ['path']"]),
    ("demonstrations.3.parts", [], ["mixed takes ['parts']"]),
    ("demonstrations.3.parts", ["mt", "cod"], ["'cod'", "nearest: 'code'"]),
    ("demonstrations.3.parts", ["mixed"], ["parts names 'mixed'"]),
    ("demonstrations.3.shares", "half", ["key='demonstrations.3.shares'"]),
    ("demonstrations.0.shots", 0, ["key='demonstrations.0.shots'", "got=0"]),
    ("demonstrations.0.samples", -1, ["key='demonstrations.0.samples'", "got=-1"]),
    ("demonstrations.0.samples", "many", ["key='demonstrations.0.samples'", "got='many'"]),
    ("demonstrations.0.samples", 2.5, ["key='demonstrations.0.samples'", "got=2.5"]),
    ("demonstrations.0.samples", [], ["key='demonstrations.0.samples'"]),
    ("demonstrations.0.max_tokens", 1, ["key='demonstrations.0.max_tokens'", "got=1"]),
    ("demonstrations.0.seed", "first", ["key='demonstrations.0.seed'"]),
    ("demonstrations.1.name", "mt", ["two entries have one name", "got='mt'"]),
    ("demonstrations.1.name", DELETED, ["key='demonstrations.1.name'"]),
    ("variants", 3, ["key='variants'"]),
    ("variants.0.score", "wandb", ["key='variants.0.score'", "got='wandb'"]),
    ("variants.0.score", DELETED, ["key='variants.0.score'"]),
    ("variants.0.sparsity", DELETED, ["key='variants.0.sparsity'", "required"]),
    ("variants.0.sparsity", 1.0, ["key='variants.0.sparsity'", "got=1.0"]),
    ("variants.0.sparsity", -0.1, ["key='variants.0.sparsity'", "got=-0.1"]),
    ("variants.0.sparsity", "half", ["key='variants.0.sparsity'", "got='half'"]),
    ("variants.0.sparsity", float("nan"), ["key='variants.0.sparsity'", "got=nan"]),
    ("variants.0.sparsity", [0.1, 50], ["key='variants.1.sparsity'", "got=50"]),
    ("variants.0.sparsity", [], ["key='variants.0.sparsity'"]),
    ("variants.0.sparsity", [[0.1]], ["key='variants.0.sparsity'"]),
    ("variants.0.structure", "4:2", ["0 < N < M", "4:2"]),
    ("variants.0.structure", "4:4", ["0 < N < M"]),
    ("variants.0.structure", "0:4", ["0 < N < M"]),
    ("variants.0.structure", "a:b", ["0 < N < M"]),
    ("variants.0.structure", "1:4", ["sparsity 0.25, got 0.5"]),
    ("variants.0.structure", "column", ["key='variants.0.structure'"]),
    ("variants.0.propagation", "parallel", ["key='variants.0.propagation'"]),
    ("variants.0.demonstrations", DELETED, ["wanda needs demonstrations"]),
    ("variants.0.demonstrations", "mtt", ["demonstrations names 'mtt'", "nearest: 'mt'"]),
    ("variants.0.contrast", "code", ["no other score takes it"]),
    ("variants.1.contrast", DELETED, ["contrast needs contrast"]),
    ("variants.1.contrast", "cod", ["contrast names 'cod'", "nearest: 'code'"]),
    ("variants.1.name", "wanda", ["two entries have one name", "got='wanda'"]),
    ("variants.2.against", ["wandb"], ["against names 'wandb'", "nearest: 'wanda'"]),
    ("variants.2.against", "wanda", ["key='variants.2.against'"]),
    ("variants.2.seed", 0.5, ["key='variants.2.seed'"]),
    ("evaluations.0.task", "snli", ["key='evaluations.0.task'", "got='snli'"]),
    ("evaluations.0.path", DELETED, ["key='evaluations.0.path'"]),
    ("evaluations.0.languages", [], ["facts takes languages"]),
    ("evaluations.0.languages", "en", ["key='evaluations.0.languages'"]),
    ("evaluations.0.languages", ["e"], ["key='evaluations.0.languages.0'"]),
    ("evaluations.0.pairs", ["fr-en"], ["facts takes languages, not pairs"]),
    ("evaluations.0.split", "train", ["dev and test", "'train'"]),
    ("evaluations.0.limit", 0, ["key='evaluations.0.limit'", "got=0"]),
    ("evaluations.1.pairs", DELETED, ["translation takes pairs"]),
    ("evaluations.1.pairs", ["fren"], ["written fr-en", "'fren'"]),
    ("evaluations.1.pairs", ["fr-"], ["written fr-en"]),
    ("evaluations.1.pairs", ["fr-fra_Latn"], ["are both fr"]),
    ("evaluations.1.shots", -1, ["key='evaluations.1.shots'"]),
    ("evaluations.1.max_new_tokens", 0, ["key='evaluations.1.max_new_tokens'"]),
    ("evaluations.1.variants", ["wand"], ["'wand'", "nearest: 'wanda'"]),
    ("compute", 4, ["key='compute'"]),
    ("compute.replicas", 0, ["compute.replicas"]),
    ("compute.shards", "many", ["compute.shards"]),
    ("compute.batch_tokens", 8, ["compute.batch_tokens"]),
    ("compute.memory_gib_per_actor", 0, ["compute.memory_gib_per_actor"]),
]


@pytest.mark.parametrize(("place", "value", "words"), BAD, ids=[f"{place}={value}" for place, value, _ in BAD])
def test_a_bad_recipe_ends_with_one_line_that_says_what_and_where(place: str, value: Any, words: list[str]) -> None:
    parse(GOOD)
    with pytest.raises(RecipeError) as caught:
        parse(changed(place, value))
    text = str(caught.value)
    assert isinstance(caught.value, BadInputError)
    assert len(text.splitlines()) == 1
    assert caught.value.context["where"] == "recipe"
    for word in words:
        assert word in text


def test_further_complaints_are_counted() -> None:
    value = changed("model.dtype", "float64")
    value["corpus"]["lines"] = 0
    with pytest.raises(RecipeError) as caught:
        parse(value)
    assert caught.value.context["more_errors"] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["not a mapping"]),
        (b"# only a comment\n", ["not a mapping"]),
        (b"- name: x\n- model: y\n", ["not a mapping"]),
        (b"just text", ["not a mapping"]),
        (b"name: [1, 2\nmodel: {", ["not YAML"]),
        (b"name: x\n\tmodel: y\n", ["not YAML"]),
        (b"name: \xff\xfe", ["not YAML"]),
        (b"name: !!python/object/apply:os.getcwd []\n", ["not YAML"]),
        (b"name: a\nname: b\n", ["not YAML", "key name occurs twice in", "line 1, column 1"]),
        (b"name: a\nmodel: {path: a, path: b}\n", ["key path occurs twice in", "line 2, column 8"]),
        (b"1: 2\n", ["wrong"]),
        (b"name: 2024-01-01\nmodel: {path: m}\ncorpus: {kind: cldr}\n", ["key='name'", "got='date'"]),
    ],
)
def test_a_file_that_is_no_recipe_ends_with_one_line(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert str(path) in text
    for word in words:
        assert word in text
    assert "\\n" not in text


@pytest.mark.parametrize("place", [lambda folder: folder / "none.yaml", lambda folder: folder])
def test_a_recipe_that_is_not_there_ends_with_one_line(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(RecipeError, match="cannot be read") as caught:
        load_recipe(place(tmp_path))
    assert caught.value.context["path"] == str(place(tmp_path))
