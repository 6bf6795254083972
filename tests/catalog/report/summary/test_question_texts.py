import pytest

from catalog.report.summary.question_texts import group_text, question_text
from tests.catalog.report.summary.answer_rows import answered


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("outside_english", "", "outside English"),
        ("worst", "", "in the worst language"),
        ("language", "en", "in English"),
        ("language", "sw", "in sw"),
        ("script", "Latn", "in the languages written in Latn"),
    ],
)
def test_groups_of_languages_are_named(kind: str, name: str, text: str) -> None:
    assert group_text(answered(0.0, group_kind=kind, group_name=name)) == text


def test_a_question_names_variants_baseline_group_task_and_metric() -> None:
    asked = "outside English (facts, accuracy)?"
    assert question_text(answered(0.0)) == f"Is a variant of translation better than dense {asked}"
    assert question_text(answered(0.0, variants="")) == f"Is any variant better than dense {asked}"
    same = answered(0.0, variants="", claim="equivalent", margin=0.02)
    assert question_text(same) == f"Do pruned variants and dense differ by less than 2.0 points {asked}"
    assert question_text(answered(0.0, over="mean")) == f"Is translation on average better than dense {asked}"
    margin = {"margin": 0.02}
    assert (
        question_text(answered(0.0, claim="noninferior", **margin))
        == f"Does translation lose less than 2.0 points against dense {asked}"
    )
    assert (
        question_text(answered(0.0, claim="equivalent", against="monolingual", **margin))
        == f"Do translation and monolingual differ by less than 2.0 points {asked}"
    )
