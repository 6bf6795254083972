"""The recipes of the real study, on a tiny model of Gemma's family, and the command that runs them."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from catalog.store.catalog import Catalog
from infra.pages.frozen import thawed
from infra.real.__main__ import RECIPES, main, read_results
from infra.real.comparisons import compare_arms
from infra.real.tables import comparisons_table, values_table, write_tables
from infra.real.values import mean_values
from mlprune.errors import ModelError
from mlprune.planning import build_plan
from mlprune.recipe.loading import load_recipe
from ray_jobs.driver.changed_recipe import RecipeChanges, load_changed_recipe
from ray_jobs.driver.run_recipe import run_recipe
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[3]
SMALL = """
name: small
model: {path: model}
corpus: {kind: cldr, lines: 60, leave_out_evaluated: true}
demonstrations:
  - {name: translation, kind: translation, pair: sw-en, shots: 1, token_budget: 300, seed: [0, 1]}
  - {name: unpaired, kind: translation, pair: sw-en, paired: false, shots: 1, token_budget: 300, seed: [0, 1]}
variants:
  - {name: translation, demonstrations: translation, score: wanda, sparsity: 0.4, propagation: dense}
  - {name: unpaired, demonstrations: unpaired, score: wanda, sparsity: 0.4, propagation: dense}
evaluations:
  - {task: perplexity, path: corpus, languages: [en, sw], split: test, limit: 3}
  - {task: facts, path: corpus, languages: [en, sw], split: test, limit: 2}
analyses: {mask_overlaps: 0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    save_tiny_model(folder / "model", "gemma3_text", blocks=1, positions=512)
    return folder


@pytest.mark.thorough("runs recipes of its own")
def test_the_subset_has_about_twenty_variants_and_its_texts_equal_tokens(folder):
    recipe = load_changed_recipe(RECIPES / "subset.yaml", RecipeChanges(model=str(folder / "model")))
    plan = build_plan(recipe)
    assert len(plan.variants) == 21
    budgets = {(entry.token_budget, entry.max_tokens) for entry in recipe.demonstrations}
    assert budgets == {(8000, 512)}
    assert sum(job.step == "demonstrate" for job in plan.jobs) == 18


def test_the_larger_recipe_is_accepted_and_has_five_seeds():
    recipe = load_recipe(RECIPES / "flores.yaml")
    assert {entry.seed for entry in recipe.demonstrations} == set(range(5))


@pytest.mark.thorough("runs recipes of its own")
def test_answers_are_read_from_the_store_of_a_run(folder):
    (folder / "small.yaml").write_text(SMALL)
    store = str(folder / "store")
    assert run_recipe(folder / "small.yaml", store, address="none").exit_code == 0
    evaluations = read_results(folder / "small.yaml", store)
    assert {each.arm for each in evaluations} == {"dense", "translation", "unpaired"}
    values = list(mean_values(evaluations))
    comparisons = compare_arms(evaluations)
    assert {(each.metric, each.opponent, each.role) for each in comparisons} == {
        (metric, "unpaired", role) for metric in ("log perplexity", "accuracy") for role in ("source", "English")
    }
    assert values_table(values, "facts").row_count == 3
    assert comparisons_table(comparisons).row_count == 4
    paths = write_tables(folder, values, comparisons, name="small")
    assert [len(path.read_text().splitlines()) for path in paths] == [1 + 12, 1 + 4]


@pytest.mark.parametrize(("error", "code"), [(ModelError("no such part"), 2), (KeyboardInterrupt(), 130)])
def test_bad_input_and_an_interruption_are_one_line(error, code, monkeypatch, capsys):
    def fail(_folder):
        raise error

    monkeypatch.setattr("infra.real.__main__.import_gemma", fail)
    monkeypatch.setattr(sys, "argv", ["infra.real"])
    assert main() == code
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.thorough("runs recipes of its own")
def test_another_study_prints_the_answers_to_its_questions(monkeypatch, capsys):
    ran = []

    def run(recipe, store, *, address):
        ran.append((recipe.stem, store, address))
        return SimpleNamespace(exit_code=0)

    monkeypatch.setattr("infra.real.__main__.import_gemma", lambda _folder: None)
    monkeypatch.setattr("infra.real.__main__.run_recipe", run)
    with thawed("which-text") as store:
        options = ["--recipe", "which-text", "--store", str(store.local_root), "--address", "none"]
        monkeypatch.setattr(sys, "argv", ["infra.real", *options])
        assert main() == 0
        assert ran == [("which-text", str(store.local_root), "none")]
        with Catalog.in_memory(store) as catalog:
            titles = [row["title"] for row in catalog.query("FROM answers WHERE is_primary")]
    printed = capsys.readouterr().out
    assert len(titles) == len(load_recipe(RECIPES / "which-text.yaml").questions)
    assert all(word in printed for title in titles for word in title.split())
    assert all(title[:35] in printed for title in titles)


def test_make_real_without_accepted_terms_names_them_and_installs_nothing():
    of_make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    command = ["make", "real"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 2
    assert "https://ai.google.dev/gemma/terms" in done.stderr
    assert done.stdout == ""
