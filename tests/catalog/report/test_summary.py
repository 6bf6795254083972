from pathlib import Path
from typing import Any

import pytest

from catalog.report import summary as headline_module
from catalog.report.page import render_page
from catalog.report.query_results import run_report_query
from catalog.report.summary import COLUMNS, Headline, answer_card, best_variants_table, headlines, shown_questions
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.report.answer_rows import answered, family
from tests.catalog.report.reading import Reader
from tests.catalog_data import declared_parameters, write_rows


def test_a_card_has_items_clusters_languages_chance_family_and_power() -> None:
    card = answer_card(family(answered(0.01), answered(0.02, detectable_difference=0.03)), n_models=1)
    assert card.kind == "helps · primary"
    assert card.evidence == (
        "test split",
        "150 items in 115 clusters",
        "5 languages",
        "chance 0.174",
        "family of 2 tests",
        "smallest for Holm's first test 1.2 points",
        "detectable 2.0 to 3.0 points",
    )
    assert card.facets == {"model": "tiny"}


def test_a_question_with_a_margin_does_not_name_the_smallest_gain() -> None:
    card = answer_card([answered(0.01, claim="noninferior", margin=0.02)], n_models=1)
    assert not any("smallest" in part for part in card.evidence)
    assert any("detectable" in part for part in card.evidence)


def test_limits_name_one_draw_one_model_and_what_is_exploratory() -> None:
    drawn_once = answer_card([answered(0.01)], n_models=1)
    assert "Conditional on one draw" in drawn_once.limits[0]
    assert "One model." in drawn_once.limits
    fixed = answer_card([answered(0.01, conditional_on_one_draw=False)], n_models=2)
    assert fixed.limits == ()
    late = answer_card([answered(0.01, is_primary=False, declared_after=7)], n_models=2)
    assert late.kind == "helps · exploratory"
    assert late.limits[0] == "Exploratory: declared after 7 of its results existed."
    default = answer_card([answered(0.01, is_primary=False, is_declared=False, name="", variants="")], n_models=2)
    assert default.kind == "exploratory"
    assert "no recipe declares" in default.limits[0]
    assert any("Measured on dev" in limit for limit in answer_card([answered(0.01, split="dev")], n_models=2).limits)


def test_exploratory_questions_are_shown_only_for_tasks_without_declared_ones() -> None:
    declared, default = answered(0.01), answered(0.01, is_declared=False, question_id="d")
    other = answered(0.01, is_declared=False, question_id="o", task="xnli")
    assert shown_questions([declared, default, other]) == [[declared], [other]]
    assert shown_questions([default]) == [[default]]


CHOSEN: dict[str, Any] = {"criterion": "fr", "label": "wanda fr-en 0.2", "win_share": 0.43, "n_candidates": 54}
CHOSEN |= {"n_tied": 1, "is_dense": False, "test_value": 0.4, "ci_low": 0.3, "ci_high": 0.5, "dense_value": 0.38}
CHOSEN |= {"difference": 0.02, "difference_ci_low": -0.01, "difference_ci_high": 0.05, "p_corrected": 0.6}
CHOSEN |= {"optimism": 0.03, "english_difference": -0.1, "english_ci_low": -0.12, "english_ci_high": -0.08}
CHOSEN |= {"base_model_id": "m"}


def cells(**more: Any) -> dict[str, str]:
    (row,) = best_variants_table([CHOSEN | more], {"m": "tiny"})
    assert row.facets == {"model": "tiny"}
    return dict(zip(COLUMNS, row.cells, strict=True))


def test_a_chosen_variant_has_its_difference_on_test_and_its_share_of_wins() -> None:
    row = cells()
    assert (row["chosen for"], row["chosen on dev"]) == ("fr", "wanda fr-en 0.2")
    assert row["wins in resamples of dev"] == "43% of 54 candidates"
    assert row["difference (95% interval)"] == "+0.020 (-0.010 to +0.050)".replace("-", "\u2212")
    assert row["optimism of dev"] == "+0.030"


def test_dense_is_named_as_the_choice_without_a_difference() -> None:
    row = cells(is_dense=True, criterion="outside_english", n_tied=3, ci_low=None, ci_high=None, p_corrected=None)
    assert row["chosen for"] == "mean outside English"
    assert row["chosen on dev"] == "dense: no pruned variant is better (3 tied)"
    assert (row["test (95% interval)"], row["difference (95% interval)"], row["p, corrected"]) == ("0.400", "", "")


def headlines_of(catalog: Catalog) -> tuple[Headline, ...]:
    answers, models = (run_report_query(catalog, name).rows for name in ("answered_questions", "base_models"))
    return headlines(catalog, answers=answers, models=models)


def test_declared_questions_are_the_headline_and_others_are_exploratory(catalog: Catalog) -> None:
    (headline,) = headlines_of(catalog)
    assert [finding.kind for finding in headline.findings] == ["together · primary", "late · exploratory"]
    together, late = headline.findings
    (mean,) = catalog.query("SELECT * FROM answers WHERE variant_id IS NULL")
    assert f"TOST p = {mean['p_margin_corrected']:.3f}" in together.sentence or "TOST p < 0.001" in together.sentence
    assert late.limits[0] == "Exploratory: declared after 3 of its results existed."
    pruned = {row["label"] for row in catalog.query("SELECT label FROM described_variants WHERE NOT is_dense")}
    answered = {line.cells[0] for line in late.answers}
    assert answered == pruned
    assert late.sentence.startswith(f"None of {len(pruned)} variants is shown"), (
        "an exploratory question shows no claim"
    )


@pytest.mark.thorough("renders pages of its own")
def test_of_many_tests_of_a_question_those_that_say_most_are_shown(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = headlines_of(catalog)[0].findings[1]
    assert len(whole.answers) == whole.n_answers > 10
    monkeypatch.setattr(headline_module, "MAX_ANSWERS", 5)
    finding = headlines_of(catalog)[0].findings[1]
    assert (finding.n_answers, finding.evidence) == (whole.n_answers, whole.evidence)
    shown, supported = finding.answers, [row for row in whole.answers if row.cells[-1] == "yes"]
    assert len(shown) == 5
    assert shown == tuple(row for row in whole.answers if row in shown), "the order stays"
    assert sum(row.cells[-1] == "yes" for row in shown) >= min(5, len(supported))
    for name in ("FIGURES", "EXAMPLES", "TABLES"):
        monkeypatch.setattr(f"catalog.report.page.{name}", ())
    assert f"5 of {whole.n_answers} tests are shown" in render_page(catalog)


def test_each_language_has_its_best_variant(catalog: Catalog) -> None:
    (headline,) = headlines_of(catalog)
    assert [line.cells[0] for line in headline.table] == [
        "en",
        "es",
        "fr",
        "sw",
        "mean outside English",
        "worst language",
    ]
    chosen = {row["criterion"]: row["label"] for row in catalog.query("SELECT criterion, label FROM best_variant")}
    assert headline.table[2].cells[1].startswith(str(chosen["fr"]))


@pytest.mark.thorough("renders pages of its own")
def test_cards_show_their_evidence_and_limits(page: str) -> None:
    reader = Reader(page)
    cards = reader.find("div", class_="finding")
    assert len(cards) == 2
    assert all("3 languages · chance 0.333" in card.text for card in cards)
    assert all("Conditional on one draw" in card.text for card in cards)


@pytest.mark.thorough("renders pages of its own")
def test_a_question_is_shown_with_its_latest_family_and_a_store_without_questions_makes_no_claim(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "asked")
    write_rows(store, "base_models", parameters={}, rows={"base_models": [{"base_model_id": "@id", "source": "tiny"}]})
    shared = {"task": "facts", "split": "test", "metric": "accuracy", "group_kind": "all", "group_name": ""}
    shared |= {"claim": "gain", "over": "each", "criterion_id": "c", "is_declared": False, "is_primary": False}
    shared |= {"name": "", "variants": "", "against": "dense", "recipe": "mine"}
    for n in (1, 2):
        answers = [
            {"question_id": "@id", "comparison_id": str(index), "variant_id": str(index), "difference": -0.1}
            | {"n_variants": 1, "n_languages": 2, "n_items": 9, "n_clusters": 9, "p_value": 0.5}
            | {"scale": "difference"}
            for index in range(n)
        ]
        question_id = write_rows(store, "answers", parameters={"n": n}, rows={"answers": answers})
        row = {**shared, "question_id": question_id}
        write_rows(store, "recipes", parameters=declared_parameters([row], []), rows={"questions": [row]})
    with Catalog.in_memory(store) as catalog:
        (headline,) = headlines_of(catalog)
        (finding,) = headline.findings
        assert finding.kind == "exploratory"
        assert finding.sentence.startswith("None of 2 variants")
    with Catalog.in_memory(Store(tmp_path / "nothing")) as empty:
        assert headlines_of(empty) == ()
