"""Smaller vocabularies on the command line: sizes in the plan, and bad input as one line with exit code 2."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from mlprune import demo
from tests.command_line import Done
from tests.tiny_recipes import write_recipe
from tests.trimmable_models import save_unigram_model

EMBEDDED = Path(demo.__file__).parent / "xglm-cldr-2m"
LONG = "Каждый день недели мы говорим о погоде. " * 6
SHORT = {"task": "perplexity", "path": "corpus", "languages": ["en"], "limit": 4}
LONG_TEXT = {"task": "perplexity", "path": "texts", "languages": ["ru"]}


def recipe(keep: dict[str, Any], *evaluations: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "tokens",
        "model": {"path": "./model"},
        "corpus": {"kind": "cldr", "lines": 60},
        "variants": [{"name": "small", "structure": "vocabulary", "keep": keep}],
        "evaluations": list(evaluations),
        "compute": {"batch_tokens": 512},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(EMBEDDED, tmp_path / "model")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "ru.txt").write_text(LONG + "\n", "utf-8")
    return tmp_path


def planned_line(done: Done) -> str:
    assert done.code == 0, done.err
    (line,) = (line for line in done.out.splitlines() if line.startswith("vocabulary "))
    return line


@pytest.mark.thorough("runs commands that start or finish runs")
def test_the_plan_states_bounds_and_then_the_sizes_and_finds_prompts_that_no_longer_fit(
    folder: Path, here: Callable[..., Done]
) -> None:
    store = folder / "store"
    sized = write_recipe(folder, recipe({"languages": "en", "size": 1000}, SHORT))
    assert "at most 1,000 of 5,000 tokens stay, at least 31.4% of all" in planned_line(
        here("plan", sized, "--store", store)
    )
    counted = write_recipe(folder, recipe({"languages": "en"}, SHORT))
    bound = planned_line(here("plan", counted, "--store", store))
    assert bound.startswith("vocabulary keeps en: at least ")
    assert "at most" in bound
    assert here("run", counted, "--store", store, "--address", "none").code == 0
    exact = planned_line(here("plan", counted, "--store", store))
    assert "at" not in exact.split(" of all weights")[0].split()
    other = write_recipe(folder, recipe({"languages": "en"}, SHORT, LONG_TEXT), name="long.yaml")
    refused(here("plan", other, "--store", store), "256")


@pytest.mark.thorough("runs commands that start or finish runs")
def test_an_export_from_another_revision_of_the_base_model_is_refused(folder: Path, here: Callable[..., Done]) -> None:
    store = folder / "store"
    assert (
        here("run", write_recipe(folder, recipe({"languages": "en"})), "--store", store, "--address", "none").code == 0
    )
    shutil.copytree(folder / "model", folder / "other")
    tensors = load_file(folder / "other" / "model.safetensors")
    tensors["model.layers.0.fc1.bias"][0] += 1
    save_file(tensors, folder / "other" / "model.safetensors", metadata={"format": "pt"})
    exported = here("export", "small", "--store", store, "--base-model", folder / "other", "--out", folder / "out")
    refused(exported, "another model")
    assert not (folder / "out").exists()


def refused(done: Done, hint: str) -> None:
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert hint in done.err


@pytest.fixture(scope="module")
def unigram_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_unigram_model(tmp_path_factory.mktemp("unigram") / "model").parent


def test_tokens_that_cannot_spell_their_own_corpus_are_refused_before_the_run(
    unigram_folder: Path, tmp_path: Path, here: Callable[..., Done]
) -> None:
    path = write_recipe(unigram_folder, recipe({"languages": ["en", "ru"], "share": 0.5}))
    done = here("run", path, "--store", tmp_path / "store", "--address", "none")
    refused(done, "cannot spell")
    assert "language=" in done.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "keep",
    [{"languages": "en", "size": 3}, {"languages": "xx"}, {"demonstrations": "none"}, {"languages": "en", "share": 2}],
)
def test_a_choice_that_cannot_be_made_is_refused(folder: Path, here: Callable[..., Done], keep: dict[str, Any]) -> None:
    done = here("run", write_recipe(folder, recipe(keep)), "--store", folder / "store", "--address", "none")
    refused(done, "keep" if keep != {"languages": "xx"} else "xx")
    assert not (folder / "store").exists()
