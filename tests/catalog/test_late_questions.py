"""Someone who has seen the results and then declares a question: nothing is gained, from the recipe to the catalog."""

from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest

from catalog.store import Catalog
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.questions.declarations import declarations
from mlprune.store.store import Store
from ray_jobs.driver import run_log
from tests.tiny_recipes import copy_of, run_jobs, tiny_recipe

pytestmark = pytest.mark.thorough("fills and folds catalogs of its own")

FACTS: dict[str, Any] = {"task": "facts", "path": "facts", "languages": ["en", "fr", "sw"], "limit": 6}
RANDOM: dict[str, Any] = {"score": "random", "sparsity": 0.5}
PICKED: dict[str, Any] = {"name": "picked", "variants": "picked", "task": "facts", "languages": "sw"}


def plan_of(
    folder: Path, *questions: dict[str, Any], facts: dict[str, Any] | None = None, seeds: tuple[int, ...] = (0, 2)
) -> Plan:
    """A recipe with random variants, of which one is the entry `picked`."""
    variants = [{**RANDOM, "name": "random", "seed": list(seeds)}, {**RANDOM, "name": "picked", "seed": 1}]
    recipe = {**tiny_recipe(), "demonstrations": [], "variants": variants, "evaluations": [facts or FACTS]}
    return build_plan(parse_recipe({**recipe, "questions": list(questions)}, folder=folder))


def run(plan: Plan, store: Store) -> None:
    store.write_record(plan.record_with(declarations(plan.questions, store)))
    run_jobs(plan.jobs, store, model=plan.model)


@pytest.fixture(scope="module")
def looked_at(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store whose results are known before a question is declared."""
    store = Store(tmp_path_factory.mktemp("late") / "store")
    run(plan_of(tiny_inputs), store)
    return store


def comparisons(catalog: Catalog) -> list[dict[str, Any]]:
    return catalog.query("SELECT * FROM internal.comparisons ORDER BY evaluation_id, baseline_evaluation_id, metric")


@pytest.mark.parametrize("claim", [{}, {"claim": "noninferior", "margin": 0.5}], ids=["gain", "margin"])
def test_a_question_that_is_declared_after_looking_changes_no_family(
    tiny_inputs: Path, looked_at: Store, tmp_path: Path, claim: dict[str, Any]
) -> None:
    store = copy_of(looked_at, tmp_path / "store")
    with Catalog.open(store) as catalog:
        catalog.fold()
        before = comparisons(catalog)
        run(plan_of(tiny_inputs, {**PICKED, **claim}), store)
        catalog.fold()
        assert comparisons(catalog) == before
        (question,) = catalog.query("FROM internal.described_questions WHERE is_declared")
        (answer,) = catalog.query("FROM answers WHERE question_id = $id", {"id": question["question_id"]})
        wanted = "metric = 'accuracy' AND task = 'facts' AND language = 'sw'"
        sql = f"FROM metrics WHERE variant_id = $id AND {wanted}"
        (dense,) = catalog.query(sql, {"id": answer["baseline_id"]})
    assert (question["is_primary"], question["declared_after"]) == (False, 1)
    assert question["earlier_evaluation_id"] in question["status"]
    key = {"evaluation_id": question["earlier_evaluation_id"], "metric": "accuracy"}
    (looked,) = (row for row in before if key.items() <= row.items())
    assert (looked["language"], looked["variant_id"]) == ("sw", answer["variant_id"])
    assert (answer["p_corrected"], answer["is_supported"]) == (looked["p_corrected"], False)
    assert answer["p_margin_corrected"] is None
    assert answer["verdict"] == ("cannot be asked" if claim and dense["limit_reached"] == "floor" else "exploratory")
    assert looked["n_family"] == 9


@pytest.mark.parametrize(
    ("question", "facts"),
    [
        (PICKED, {**FACTS, "limit": 7}),
        ({**PICKED, "name": "other"}, {**FACTS, "limit": 7, "languages": ["sw", "fr"]}),
        ({**PICKED, "languages": "outside_english"}, {**FACTS, "rule": "candidate_sum"}),
    ],
    ids=["one more item", "another name and evaluation", "another rule"],
)
def test_a_small_change_makes_no_question_primary(
    tiny_inputs: Path, looked_at: Store, tmp_path: Path, question: dict[str, Any], facts: dict[str, Any]
) -> None:
    store = copy_of(looked_at, tmp_path / "store")
    run(plan_of(tiny_inputs, question, facts=facts), store)
    with Catalog.open(store) as catalog:
        catalog.fold()
        (declared,) = catalog.query("FROM internal.described_questions WHERE is_declared")
        assert declared["status"].startswith("exploratory: ")
        assert catalog.query("FROM internal.comparisons WHERE is_primary") == []
        assert catalog.query("FROM internal.aggregates WHERE is_primary") == []
        assert catalog.query("FROM answers WHERE is_supported") == []


def test_a_question_that_is_declared_in_time_is_a_family_of_its_own(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plan = plan_of(tiny_inputs, {**PICKED, "languages": "outside_english"})
    run(plan, store)
    run(plan, store)
    with Catalog.open(store) as catalog:
        catalog.fold()
        rows = catalog.query("FROM internal.comparisons WHERE is_primary ORDER BY language")
        (mean,) = catalog.query("FROM internal.aggregates WHERE is_primary")
        with Catalog.in_memory(store) as rebuilt:
            assert rebuilt.fingerprints() == catalog.fingerprints()
    assert [row["language"] for row in rows] == ["fr", "sw"]
    assert (mean["p_corrected"], mean["n_family"]) == (mean["p_value"], 1)
    assert all(row["p_corrected"] >= max(mean["p_value"], row["p_value"]) for row in rows)


@pytest.mark.parametrize("over", ["each", "mean"])
def test_an_earlier_declaration_with_more_variants_leaves_the_answer_its_p_value(
    tiny_inputs: Path, tmp_path: Path, over: str
) -> None:
    store = Store(tmp_path / "store")
    question = {**PICKED, "name": "drawn", "variants": "random", "over": over}
    declared = plan_of(tiny_inputs, question)
    store.write_record(declared.record_with(declarations(declared.questions, store)))
    run(plan_of(tiny_inputs, question, seeds=(0,)), store)
    with Catalog.open(store) as catalog:
        catalog.fold()
        (answer,) = catalog.query(
            "SELECT a.* FROM answers AS a JOIN questions AS q USING (question_id) WHERE q.is_declared"
        )
        with Catalog.in_memory(store) as rebuilt:
            assert rebuilt.fingerprints() == catalog.fingerprints()
    assert (answer["n_questions"], answer["n_tests"]) == (2, 1)
    assert answer["p_corrected"] == min(1, 2 * answer["p_value"])


def test_a_question_that_is_declared_again_with_another_title_stays_primary_and_has_the_title_of_the_last_run(
    tiny_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NextDay(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(days=1)

    store = Store(tmp_path / "store")
    first, again = (plan_of(tiny_inputs, {**PICKED, "title": title}) for title in ("Written first?", "Asked again?"))
    for plan, clock in ((first, datetime), (again, NextDay)):
        monkeypatch.setattr(run_log, "datetime", clock)
        run(plan, store)
        run_log.begin_run(store, "run", recipe=run_log.RecordedRecipe("tiny", plan.record.id, None, {}))
    with Catalog.open(store) as catalog:
        catalog.fold()
        (question,) = catalog.query("FROM internal.described_questions WHERE is_declared")
    assert first.record.id != again.record.id
    assert (question["title"], question["is_primary"]) == ("Asked again?", True)
