from pathlib import Path
from typing import Any

import pytest

from catalog.report.first_page import (
    NO_TEST,
    FirstPage,
    answer_line,
    chosen,
    first_page,
    price_sentences,
)
from catalog.report.query_results import run_report_query
from catalog.report.verdicts import questions_tally, rank
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.report.answer_rows import answered, question
from tests.catalog.report.reading import Reader
from tests.catalog_data import declared_parameters, write_rows

ANSWER = answered(0.0042, ci_low=-0.011, ci_high=0.019, p_value=0.41, label="wanda fr-en 0.2")
ANSWER |= question("not shown", lowest_sparsity=None, highest_sparsity=None)


@pytest.fixture(scope="module")
def first(catalog: Catalog) -> FirstPage:
    return first_page(catalog)


def test_an_answer_has_its_verdict_interval_and_number_of_items() -> None:
    line = answer_line(ANSWER | question("not shown 15 of 15", n_answers=15, n_not_shown=15))
    assert (line.verdict, line.tone) == ("Not shown 15 of 15", "open")
    estimate = "best of 15: +0.4 points (95 % -1.1 to +1.9), p = 0.410 · wanda fr-en 0.2 · n 150"
    assert line.estimate.replace("\N{MINUS SIGN}", "-") == estimate
    one = answer_line(ANSWER | question("no", n_no=1) | {"label": None, "n_variants": 3})
    assert (one.verdict, one.tone) == ("No", "bad")
    assert "mean of 3 variants" in one.estimate


def test_a_tally_has_the_colour_of_what_tests_show_and_the_sparsities_of_those_that_say_yes() -> None:
    tally = question("yes 6, not shown 9 of 15", n_answers=15, n_yes=6, n_not_shown=9)
    line = answer_line(ANSWER | tally | {"lowest_sparsity": 0.2, "highest_sparsity": 0.3})
    assert (line.verdict, line.tone) == ("Yes 6, not shown 9 of 15", "good")
    assert line.estimate.startswith("yes at sparsity 0.2 to 0.3 · best of 15: +0.4 points")
    assert answer_line(ANSWER | question("yes 1, no 1 of 2", n_answers=2, n_yes=1, n_no=1)).tone == "open"


def test_a_question_that_cannot_be_asked_says_why() -> None:
    unasked = question("cannot be asked", n_not_askable=1, reason="dense is at chance")
    line = answer_line(ANSWER | unasked | {"verdict": "cannot be asked"})
    assert (line.verdict, line.estimate, line.tone) == ("Cannot be asked", "dense is at chance", "open")


def test_page_one_answers_the_declared_questions_as_their_tests_do(first: FirstPage, catalog: Catalog) -> None:
    declared = catalog.query("SELECT DISTINCT name FROM questions WHERE is_declared")
    assert len(first.answers) == first.n_questions == len(declared) == 2
    sql = "SELECT question_id, count(*) FILTER (is_supported) AS n FROM answers GROUP BY question_id"
    supported = {row["question_id"]: row["n"] for row in catalog.query(sql)}
    for row in run_report_query(catalog, "first_answers").rows:
        assert row["place"] == 1
        assert row["n_yes"] == supported[row["question_id"]]
    assert len(first.verdicts) > len(first.answers)
    assert all("n " in line.estimate for line in first.answers)


def test_chosen_variants_and_the_curve_are_of_the_task_of_the_primary_question(first: FirstPage) -> None:
    assert first.task == "facts"
    assert {"fr", "mean outside English"} <= {choice.name for choice in first.chosen}
    assert all(choice.is_shown or choice.use == "keep dense" for choice in first.chosen)
    assert 'role="img"' in first.curve
    assert first.figure is not None
    assert "facts, accuracy on test" in first.figure.title
    assert "of jobs on" in first.cost


def test_points_of_the_curve_are_means_of_the_values_of_the_variants(catalog: Catalog) -> None:
    rows = run_report_query(catalog, "first_curve").rows
    row = next(row for row in rows if row["language"] == "outside_english" and row["score"] == "magnitude")
    values = catalog.query(
        "SELECT avg(a.value) AS value FROM internal.aggregates AS a JOIN described_variants AS v USING (variant_id) "
        "JOIN described_variants AS b ON b.variant_id = a.baseline_id AND b.is_dense "
        "WHERE a.group_kind = 'outside_english' AND a.task = $task AND a.split = $split AND a.metric = 'accuracy' "
        "AND v.score = 'magnitude' AND v.sparsity = $sparsity AND v.settings IS NULL",
        {name: row[name] for name in ("task", "split", "sparsity")},
    )
    assert row["value"] == pytest.approx(values[0]["value"])
    assert row["low"] <= row["value"] <= row["high"]


CHOICE: dict[str, Any] = {"criterion": "sw", "is_dense": False, "label": "wanda fr-en 0.4", "win_share": 0.32}
CHOICE |= {"n_tied": 3, "difference": -0.08, "difference_ci_low": -0.12, "difference_ci_high": -0.04}
CHOICE |= {"scale": "difference", "metric": "accuracy", "verdict": "loss shown", "use": "keep dense"}
GAIN: dict[str, Any] = {"difference": 0.05, "verdict": "gain shown", "use": "wanda fr-en 0.4"}


def test_page_one_recommends_what_the_view_of_choices_says(catalog: Catalog) -> None:
    assert [(one.use, one.is_shown) for one in map(chosen, (CHOICE, CHOICE | GAIN))] == [
        ("keep dense", False),
        ("wanda fr-en 0.4", True),
    ]
    parameters = {"task": "facts", "metric": "accuracy"}
    rows = run_report_query(catalog, "chosen_on_dev", parameters=parameters).rows
    decided = catalog.query("SELECT criterion, \"use\", verdict FROM best_variant WHERE task = 'facts'")
    assert {row["criterion"]: (row["use"], row["verdict"]) for row in rows} == {
        row["criterion"]: (row["use"], row["verdict"]) for row in decided
    }


def test_the_choice_on_dev_has_its_share_of_wins_its_ties_and_says_if_it_is_worse() -> None:
    choice = chosen(CHOICE)
    assert choice.on_dev == "wanda fr-en 0.4 (wins 32%, 3 tied)"
    assert choice.change.endswith("significantly worse")


def test_refuted_and_open_questions_come_first_and_the_tally_counts_primary_ones() -> None:
    rows = [ANSWER | question("yes", n_yes=1), ANSWER | question("no", n_no=1)]
    rows += [ANSWER | question("not shown", n_not_shown=1), ANSWER | question("yes 1, no 1 of 2", n_yes=1, n_no=1)]
    exploratory = ANSWER | question("exploratory", n_exploratory=1) | {"is_primary": False}
    ordered = sorted([exploratory, *rows], key=rank)
    assert [row["answer"] for row in ordered] == ["no", "yes 1, no 1 of 2", "not shown", "yes", "exploratory"]
    assert questions_tally(ordered) == "1 yes, 1 not shown, 1 no, 1 with several verdicts; 1 more exploratory"


def test_variants_that_are_significantly_worse_are_counted() -> None:
    line = answer_line(ANSWER | question("no 2, not shown 2 of 4", n_answers=4, n_no=2, n_not_shown=2) | {"n_worse": 2})
    assert line.estimate.endswith("2 of 4 significantly worse")


def english(score: str, sparsity: float, difference: float) -> dict[str, Any]:
    row: dict[str, Any] = {"language": "en", "score": score, "set_kind": None, "propagation": None, "structure": None}
    return row | {"settings": None, "sparsity": sparsity, "difference": difference, "scale": "difference"}


def test_the_price_in_english_names_random_pruning_and_the_range_of_the_others() -> None:
    rows = [english("wanda", 0.4, -0.031), english("ria", 0.4, -0.02), english("random", 0.4, -0.35)]
    best = CHOICE | GAIN | {"criterion": "outside_english"}
    best |= {"english_difference": -0.03, "english_ci_low": -0.05, "english_ci_high": -0.01}
    sentences = [text.replace("\u2212", "-") for text in price_sentences(rows, [best])]
    assert sentences[0].endswith("changes English by -3.0 points (95 % -5.0 to -1.0).")
    assert price_sentences(rows, [best | {"verdict": "not shown"}])[0].endswith("English pays nothing.")
    assert "at 40% by -3.1 to -2.0 points with 2 methods and -35.0 with random" in sentences[1]
    assert "pruning buys nothing" in price_sentences(rows, [best | {"is_dense": True}])[0]
    assert price_sentences([], []) == ()


@pytest.mark.thorough("renders pages of its own")
def test_each_answer_of_page_one_leads_to_its_evidence(page: str) -> None:
    reader = Reader(page)
    replies = [link for link in reader.find("a", section="first") if "download" not in link.attributes]
    assert len(replies) == 2
    for link in replies:
        (evidence,) = reader.find("div", id=link.attributes["href"].removeprefix("#"))
        assert link.text in evidence.text


@pytest.mark.thorough("renders pages of its own")
def test_a_declared_question_without_a_test_is_not_answered_yet(tmp_path: Path) -> None:
    store = Store(tmp_path / "asked")
    write_rows(store, "base_models", parameters={}, rows={"base_models": [{"base_model_id": "@id", "source": "tiny"}]})
    asked = {"question_id": "q", "task": "facts", "split": "test", "metric": "accuracy", "group_kind": "all"}
    asked |= {"group_name": "", "claim": "gain", "over": "each", "criterion_id": "c", "is_declared": True}
    asked |= {"is_primary": True, "name": "helps", "variants": "", "against": "dense", "recipe": "mine"}
    asked |= {"declared_after": 0}
    write_rows(store, "recipes", parameters=declared_parameters([asked], []), rows={"questions": [asked]})
    with Catalog.in_memory(store) as catalog:
        first = first_page(catalog)
    (line,) = first.answers
    assert (line.verdict, line.estimate) == ("Not answered yet", NO_TEST)
    assert (first.curve, first.cost, first.chosen) == ("", "No job has run.", ())
