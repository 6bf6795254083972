from catalog.report.summary.answer_cards import answer_card, shown_questions
from tests.catalog.report.summary.answer_rows import answered, family


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
