"""The embedded model is what its card says, and the demo's recipe is the main job."""

import json
from pathlib import Path

import pytest

import mlprune.demo
from mlprune.corpus import cldr_facts
from mlprune.demo.card import card, fact_accuracy, translation_accuracy
from mlprune.models.loading import load_tokenizer
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import load_recipe
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.questions.power import power_of
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.store.store import Store

DEMO = Path(mlprune.demo.__file__).parent
FOLDER = DEMO / "xglm-cldr-2m"


@pytest.fixture(scope="module")
def chain() -> LocalChain:
    return local_chain(FOLDER)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return build_plan(load_recipe(DEMO / "recipe.yaml"))


@pytest.fixture(scope="module")
def full_plan() -> Plan:
    return build_plan(load_recipe(DEMO / "full.yaml"))


def test_the_weights_are_small_enough_to_travel() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000


def test_the_card_is_made_from_the_measurements() -> None:
    found = json.loads((FOLDER / "measurements.json").read_text(encoding="utf-8"))
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == card(FOLDER, found)


@pytest.mark.thorough("evaluates the embedded model")
@pytest.mark.parametrize(("language", "held_out"), [("en", True), ("fr", True), ("sw", True), ("zh", False)])
def test_fact_accuracies_are_those_of_the_card(language: str, held_out: bool, chain: LocalChain) -> None:
    found = json.loads((FOLDER / "measurements.json").read_text(encoding="utf-8"))["facts"][language]
    measured = fact_accuracy(chain, load_tokenizer(FOLDER), language, held_out=held_out)
    assert measured[0] == pytest.approx(found["held_out" if held_out else "seen"][0], abs=0.01)


def test_english_accuracy_is_higher_than_that_of_other_languages() -> None:
    facts = json.loads((FOLDER / "measurements.json").read_text(encoding="utf-8"))["facts"]
    chance = facts["en"]["held_out"][1]
    assert facts["en"]["held_out"][0] > 0.9
    clearly = [one for one in cldr_facts.LANGUAGES[1:] if chance + 0.1 < facts[one]["held_out"][0] < 0.75]
    assert len(clearly) >= 3


@pytest.mark.thorough("evaluates the embedded model")
def test_it_translates_dates_it_never_read(chain: LocalChain) -> None:
    whole, dates = translation_accuracy(chain, load_tokenizer(FOLDER), ("fr", "en"))
    assert whole > 0.9
    assert dates == 1.0


def test_the_demo_shows_the_main_job_at_three_sparsities_with_three_random_seeds(plan: Plan) -> None:
    specs = [variant.spec for variant in plan.variants.values()]
    chosen = [spec for spec in specs if isinstance(spec, ScoredVariant)]
    assert 20 <= len(chosen) <= 35
    assert {spec.sparsity for spec in chosen} == {0.2, 0.4, 0.6}
    assert {spec.score.score for spec in chosen} == {"wanda", "contrast", "magnitude", "random"}
    assert {spec.score.seed for spec in chosen if spec.score.score == "random"} == {0, 1, 2}


def test_its_halves_of_the_facts_share_no_territory(plan: Plan) -> None:
    facts = {
        one.task
        for job in plan.jobs
        if isinstance(job, EvaluateJob)
        for one in job.evaluations
        if one.task.task == "facts"
    }
    assert {task.split_by for task in facts} == {"clusters"}
    assert {task.split for task in facts} == {"dev", "test"}


def test_its_questions_can_be_decided_with_its_items(plan: Plan, tmp_path: Path) -> None:
    declared = [one for one in plan.questions if one.config is not None]
    powers = [power_of(one, Store(str(tmp_path)), n_questions=len(declared)) for one in declared]
    assert {power.question.criterion.claim for power in powers} == {"gain", "noninferior", "equivalent"}
    assert [power.weakness for power in powers] == [None] * len(powers)


def test_the_full_demo_is_the_main_job(full_plan: Plan) -> None:
    specs = [variant.spec for variant in full_plan.variants.values()]
    chosen = [spec for spec in specs if isinstance(spec, ScoredVariant)]
    assert len(chosen) >= 40
    assert len({spec.sparsity for spec in chosen}) >= 5
    assert {spec.score.score for spec in chosen} == {"wanda", "contrast", "magnitude", "random"}
    assert {spec.propagation for spec in chosen} == {"dense", "sequential", None}
    sets = [one.spec for variant in full_plan.variants.values() for one in variant.sets]
    assert len({(one.source, one.target) for one in sets if one.kind == "translation"}) >= 3


def test_every_variant_of_the_full_demo_is_asked_200_facts_in_six_languages(full_plan: Plan) -> None:
    jobs = [job for job in full_plan.jobs if isinstance(job, EvaluateJob)]
    assert len(jobs) == len(full_plan.variants)
    for job in jobs:
        facts = [one.task for one in job.evaluations if one.task.task == "facts"]
        languages = {one.language for one in facts}
        assert len(languages) >= 6
        for language in languages:
            halves = {one.split: one.limit for one in facts if one.language == language}
            assert set(halves) == {"dev", "test"}
            assert sum(limit or 0 for limit in halves.values()) >= 200
    generating = [job for job in jobs if any(one.task.task == "translation" for one in job.evaluations)]
    assert len(generating) >= 12
