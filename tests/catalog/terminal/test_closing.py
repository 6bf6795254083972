from typing import Any

import pytest

from catalog.store import Catalog
from catalog.terminal.closing import answer_line, closing_lines, curve_lines, meaning_line
from tests.catalog.report.answer_rows import answered, family, question
from tests.tiny_recipes import FinishedRun


def point(method: str, sparsity: float, difference: float, *, english: float, **more: Any) -> dict[str, Any]:
    """A row of the curve; differences of 5 points and more are significant."""
    return {
        "task": "facts",
        "metric": "accuracy",
        "method": method,
        "score": method.split(maxsplit=1)[0],
        "sparsity": sparsity,
        "dense_value": 0.5,
        "value": 0.5 + difference,
        "difference": difference,
        "is_changed": abs(difference) >= 0.05,
        "n_variants": 1,
        "english_value": 1 + english,
        "english_dense_value": 1.0,
        "english_difference": english,
        "english_is_changed": abs(english) >= 0.05,
        **more,
    }


CURVE = [
    point("random", 0.2, -0.3, english=-0.5, n_variants=3),
    point("wanda fr-en", 0.2, 0.0, english=0.0),
    point("wanda fr-en", 0.4, -0.06, english=-0.01),
]


def test_an_answer_has_its_verdict_or_tally_and_the_best_estimate() -> None:
    one = answered(0.01, p_value=0.4) | question("not shown")
    assert answer_line([one]) == "Not shown; +1.0 points (95 % 0.0 to +3.0)."
    rows = family(answered(-0.04, p_value=0.001), answered(0.01, p_value=0.4))
    rows = [row | question("no 1, not shown 1 of 2", n_answers=2) for row in rows]
    assert answer_line(rows) == "No 1, not shown 1 of 2; best of 2: +1.0 points (95 % 0.0 to +3.0)."


def test_a_question_that_cannot_be_asked_gives_its_reason() -> None:
    unasked = question("cannot be asked", n_not_askable=1, reason="dense is at chance")
    assert answer_line([answered(0.01, verdict="cannot be asked") | unasked]) == (
        "Cannot be asked: dense is at chance."
    )


def test_what_a_question_means_comes_from_tests_and_never_from_an_estimate() -> None:
    kept, lost = answered(-0.04, p_value=0.4, sparsity=0.2), answered(-0.08, p_value=0.001, sparsity=0.4)
    tally = question("no 1, not shown 1 of 2", n_answers=2, n_no=1, n_not_shown=1)
    rows = [row | tally for row in family(kept, lost)]
    assert meaning_line([rows]) == (
        "In short (1 question: 1 with several verdicts): Removing 40 % of the weights cost 8.0 points of accuracy "
        "outside English in 1 of 2 variants."
    )
    assert "8.0" not in meaning_line([[kept | question("not shown", n_not_shown=1)]])
    equal = answered(0.0, claim="equivalent", margin=0.04, verdict="yes", against_words="monolingual")
    assert "Translation and monolingual make no difference of 4.0 points or more" in meaning_line(
        [[equal | question("yes", n_yes=1)]]
    )
    assert "no difference" not in meaning_line([[equal | question("no", n_no=1) | {"verdict": "no"}]])


def test_an_exploratory_answer_has_no_meaning_of_its_own_and_many_questions_only_a_tally() -> None:
    lost = answered(-0.08, p_value=0.001) | question("no", n_no=1)
    assert "cost" not in meaning_line([[lost | {"is_primary": False}]])
    assert meaning_line([[lost]] * 9) == "In short, 9 questions: 9 no."


def test_the_table_marks_significant_differences_and_counts_them() -> None:
    lines = curve_lines(CURVE, width=80, chance=0.17)
    first = next(place for place, line in enumerate(lines) if line.startswith("Accuracy"))
    text, table = " ".join(map(str.strip, lines[:first])), lines[first:]
    assert text.startswith("Outside English none of 3 settings is better than the unpruned model")
    assert "2 worse" in text
    assert "English at 40 %: none of 1 method loses" in text
    assert [line.split() for line in table[:3]] == [
        ["Accuracy", "outside", "English", "0", "%", "20", "%", "40", "%", "English", "40", "%"],
        ["wanda", "fr-en", "0.50", "0.50", "0.44*", "0.99"],
        ["random", "(3", "seeds)", "0.50", "0.20*", "-", "-"],
    ]
    assert "chance 0.17" in table[3]
    assert "English 1.00" in table[3]


def test_the_price_in_english_is_that_of_the_significant_losses() -> None:
    rows = [point(name, 0.4, -0.1, english=loss) for name, loss in (("a", -0.01), ("b", -0.06), ("c", -0.2))]
    assert "English at 40 %: 2 of 3 methods lose more than chance explains (6.0 to 20.0 points)." in " ".join(
        line.strip() for line in curve_lines(rows, width=80)
    )


def test_the_closing_lines_have_no_words_of_statistics() -> None:
    text = " ".join(curve_lines(CURVE, width=80, chance=0.17))
    assert not [word for word in ("significant", "noninferior", "corrected", "primary") if word in text]


def test_the_table_has_a_method_of_each_score() -> None:
    rows = [point(f"wanda {n}", 0.4, -0.01, english=0.0) for n in range(9)] + [point("random", 0.4, -0.3, english=0.0)]
    lines = curve_lines(rows, width=80)
    assert sum(line.startswith("  wanda") for line in lines) == 5
    assert any(line.startswith("  random") for line in lines)


def test_methods_beyond_the_first_are_counted() -> None:
    rows = [point(f"method {n}", 0.4, -0.1, english=0.0) for n in range(9)]
    lines = curve_lines(rows, width=80)
    assert sum(line.startswith("  method") for line in lines) == 6
    assert "3 more methods" in " ".join(map(str.strip, lines[-2:]))


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("width", [40, 80])
def test_a_run_closes_with_its_answers_and_its_curve(small_run: FinishedRun, width: int) -> None:
    with Catalog.open(small_run.store) as catalog:
        lines = closing_lines(catalog, "tiny", variants=list(small_run.plan.variants), width=width)
        assert closing_lines(catalog, "another", variants=(), width=width) == []
    assert any(line.startswith("Outside English") for line in lines)
    assert len(lines) <= 30
