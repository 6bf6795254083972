"""Load recipes from files, and refuse files that are not recipes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import load_recipe

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


def test_the_recipe_of_the_documentation_is_read(tmp_path: Path) -> None:
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
    assert (recipe.compute.replicas, recipe.compute.planned_batch_tokens("cpu")) == (1, 4096)
    assert recipe.evaluations[0].languages == ("en", "fr", "es")


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


@pytest.mark.parametrize(
    ("content", "parts"),
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
        (b"1: 2\n", ["a key is missing", "key='name'"]),
        (b"name: 2024-01-01\nmodel: {path: m}\ncorpus: {kind: cldr}\n", ["key='name'", "got='date'"]),
    ],
)
def test_a_file_that_is_not_a_recipe_is_reported_in_one_line(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert str(path) in text
    for part in parts:
        assert part in text
    assert "\\n" not in text


@pytest.mark.parametrize("place", [lambda folder: folder / "none.yaml", lambda folder: folder])
def test_a_recipe_that_is_not_there_ends_with_one_line(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(RecipeError, match="cannot be read") as caught:
        load_recipe(place(tmp_path))
    assert caught.value.context["path"] == str(place(tmp_path))
