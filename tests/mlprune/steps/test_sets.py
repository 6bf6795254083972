"""What a set may draw on: numbered texts and the hashes of what was read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlprune.errors import CorpusError, TaskFileError
from mlprune.recipe.models import CorpusConfig
from mlprune.steps.sets import SetSpec, read_source_texts, task_folder
from tests.tiny_recipes import CORPUS, N_FACTS, N_LINES


def corpus_of(folder: Path) -> CorpusConfig:
    return CorpusConfig(kind="parallel_text", path=str(folder / "corpus"))


def spec_of(kind: Any, source: str | None = None, target: str | None = None, **more: Any) -> SetSpec:
    return SetSpec(kind, source, target, 2, 4, 48, 0, **more)


def test_sentences_are_lines_of_both_sides(tiny_inputs: Path) -> None:
    found = read_source_texts(spec_of("translation", "fr", "en"), corpus_of(tiny_inputs))
    assert (found.unit, list(found.keys)) == ("sentences", list(range(N_LINES)))
    assert [side(3, "</s>") for side in found.sides] == [
        f"French: {CORPUS['fr'].format(n=3)}</s>",
        f"English: {CORPUS['en'].format(n=3)}</s>",
    ]
    assert set(found.contents([0])) == {"fr", "en"}


def test_code_is_ordered_by_path_and_only_drawn_files_are_in_the_contents(tiny_inputs: Path) -> None:
    found = read_source_texts(spec_of("code", path=str(tiny_inputs / "code")), corpus_of(tiny_inputs))
    assert list(found.keys.values()) == [f"part{number}.py" for number in range(6)]
    assert found.sides[0](2, "</s>") == (tiny_inputs / "code" / "part2.py").read_text()
    assert found.contents([0, 1]) != found.contents([0, 2])


def test_items_have_their_ids_as_keys(tiny_inputs: Path) -> None:
    spec = spec_of("task", "fr", task="facts", split="test", path=str(tiny_inputs / "facts"))
    found = read_source_texts(spec, corpus_of(tiny_inputs))
    assert found.keys == {number: str(number) for number in range(N_FACTS)}
    with pytest.raises(TaskFileError):
        read_source_texts(replace(spec, source="es"), CorpusConfig(kind="cldr"))


def test_the_built_in_facts_of_a_split_keep_their_numbers_among_all(tiny_inputs: Path) -> None:
    halves = [
        read_source_texts(spec_of("task", "fr", task="facts", split=split), CorpusConfig(kind="cldr"))
        for split in ("dev", "test")
    ]
    numbers = sorted(number for half in halves for number in half.keys)
    assert numbers == list(range(len(numbers)))
    assert all(half.keys for half in halves)
    assert (task_folder("corpus", Path("/x/corpus")), task_folder("xnli", Path("/x/xnli"))) == ("", "/x/xnli")


def test_a_wrong_template_is_found_when_the_material_is_opened(tiny_inputs: Path) -> None:
    with pytest.raises(CorpusError):
        read_source_texts(spec_of("monolingual", "fr", template="{word}{text}"), corpus_of(tiny_inputs))


def test_neither_paths_nor_the_number_a_budget_takes_are_parameters() -> None:
    first = spec_of("text", path="/a", token_budget=9)
    assert first.parameters == SetSpec("text", None, None, 2, 7, 48, 0, path="/b", token_budget=9).parameters
    assert first.parameters["samples"] is None
    assert spec_of("text").parameters["samples"] == 4


def test_a_seed_without_effect_is_not_stored() -> None:
    assert spec_of("code", profile="paper").stored_seed is None
    assert (spec_of("code").stored_seed, spec_of("mixed", profile="paper").stored_seed) == (0, 0)


def test_sentences_drawn_as_published_are_those_of_the_published_loops(tiny_inputs: Path) -> None:
    """The scripts shuffle monolingual sentences and skip none; they keep the order of pairs and skip one after four."""
    corpus = corpus_of(tiny_inputs)
    shuffled = np.random.default_rng(0).permutation(N_LINES).tolist()
    expected = {"monolingual": [tuple(shuffled[i : i + 2]) for i in range(0, 8, 2)], "translation": []}
    line = 0
    for _ in range(4):
        expected["translation"].append((line, line + 1))
        line += 3
    for kind, target in (("monolingual", None), ("translation", "en")):
        spec = spec_of(kind, "fr", target, draw="published")
        for published in (spec, replace(spec, profile="paper")):
            assert read_source_texts(published, corpus).draw_groups(published, samples=4) == expected[kind]
        assert spec.parameters["draw"] == "published"
        assert "draw" not in replace(spec, draw="hashed").parameters
        assert spec.stored_seed == (0 if kind == "monolingual" else None)


def test_only_monolingual_sentences_and_code_drawn_as_published_have_a_seed(tiny_inputs: Path) -> None:
    corpus = corpus_of(tiny_inputs)
    code = spec_of("code", path=str(tiny_inputs / "code"), draw="published")
    for spec in (
        spec_of("monolingual", "fr", draw="published"),
        code,
        spec_of("translation", "fr", "en", draw="published"),
    ):
        groups = [read_source_texts(spec, corpus).draw_groups(replace(spec, seed=seed), samples=2) for seed in (0, 1)]
        assert (groups[0] == groups[1]) == (spec.kind == "translation")
