"""Answers of the frozen stores: terminal, page one and SQL say the same."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from catalog.queries import answer_user_query, run_user_query
from catalog.report.first_page import first_page
from catalog.report.summary import CRITERIA
from catalog.sql_files import FIRST_QUESTIONS
from catalog.store import Catalog
from catalog.terminal import TableOptions, to_table
from catalog.terminal.closing import closing_lines
from infra.pages.frozen import thawed

VERDICTS = ("yes", "no", "not shown", "exploratory", "cannot be asked")


def verdict_of(verdicts: list[str]) -> str:
    """Return the verdict of one test, or the tally of several."""
    counts = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    tally = ", ".join(f"{verdict} {n}" for verdict, n in counts.items() if n)
    return verdicts[0] if len(verdicts) == 1 else f"{tally} of {len(verdicts)}"


def estimate_of(row: Mapping[str, Any]) -> str:
    """Return a difference with its interval as page one and the terminal write it, with hyphens as minus signs."""
    ends = row["difference"], row["ci_low"], row["ci_high"]
    if row["scale"] == "log_ratio":
        value, low, high = (f"×{math.exp(end):.3f}" for end in ends)
    else:
        value, low, high = (f"{100 * end:+.1f}" if round(100 * end, 1) else "0.0" for end in ends)
    unit = "" if row["scale"] == "log_ratio" else " points"
    return f"{value}{unit} ({100 * row['ci_level']:.0f} % {low} to {high})"


def p_of(row: Mapping[str, Any]) -> str:
    """Return the p-value that decides an answer as page one and the terminal write it."""
    is_opposite = row["verdict"] == "no" and row["claim"] != "gain"
    p_value = row["p_opposite_corrected" if is_opposite else "p_claim"]
    if p_value is None:
        return ""
    text = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return f"{text} (opposite)" if is_opposite else text


BEST = """
SELECT
    question_id, verdict, difference, p_value, n_baseline_seeds,
    CASE claim WHEN 'gain' THEN a.ci_low ELSE ci90_low END AS ci_low,
    coalesce(p_margin_corrected, p_corrected) AS p_claim
FROM answers AS a WHERE place = 1
"""


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("name", ["demo", "study", "which-text", "comparison-languages"])
def test_terminal_page_one_and_sql_have_the_same_verdict_and_the_same_numbers(name: str) -> None:
    with thawed(name) as store, Catalog.in_memory(store) as catalog:
        rows = run_user_query(catalog, "answers_to_questions", ["all_answers=true"]).as_dicts()
        in_sql = {row["question_id"]: dict(row) for row in catalog.query(BEST)}
        page = first_page(catalog)
        terminal = [
            line
            for recipe in {row["recipe"] for row in rows}
            for line in closing_lines(catalog, recipe, variants=(), width=1000)
        ]
    by_question: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_question.setdefault(str(row["question_id"]), []).append(dict(row))
    assert len(by_question) > 2
    for question, tests in by_question.items():
        (best,) = (row for row in tests if row["place"] == 1)
        verdict, estimate = verdict_of([row["verdict"] for row in tests]), estimate_of(best)
        assert in_sql[question] == {name: best[name] for name in in_sql[question]}
        texts = [page.verdicts[f"question-{question}"].estimate.replace("\N{MINUS SIGN}", "-")]
        if best["status"] == "primary":
            (place,) = (place for place, line in enumerate(terminal) if line.endswith(f" {best['title']}"))
            line = terminal[place + 1].strip()
            assert line.lower().startswith(f"{verdict}; ")
            texts.append(line)
        shown = page.verdicts[f"question-{question}"]
        assert shown.verdict.lower() == verdict
        assert p_of(best) in shown.estimate
        for text in texts:
            assert estimate in text
            assert f"best of {len(tests)}: " in text or len(tests) == 1


DECIDED = """
SELECT
    criterion, use, verdict, label AS chosen_on_dev, difference, difference_ci_low, difference_ci_high,
    english_difference, english_ci_low, english_ci_high
FROM best_variant
"""


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("name", ["demo", "study"])
def test_terminal_page_one_and_sql_use_the_same_variant_for_the_same_gain_and_price(name: str) -> None:
    with thawed(name) as store, Catalog.in_memory(store) as catalog:
        in_view = {row["criterion"]: dict(row) for row in catalog.query(DECIDED)}
        answer = answer_user_query(catalog, "best_by_language", ["with_groups=true"])
        page = first_page(catalog)
    rows = {str(row["criterion"]): row for row in answer.result.as_dicts()}
    options = TableOptions(80, first=answer.first, folded=answer.folded)
    table = to_table(answer.result, options)
    assert {name: {column: row[column] for column in in_view[name]} for name, row in rows.items()} == in_view
    assert {choice.name for choice in page.chosen} <= {CRITERIA.get(name, name) for name in rows}
    shown = {choice.name: choice for choice in page.chosen}
    assert len(shown) > 2
    for criterion, row in rows.items():
        if (choice := shown.get(CRITERIA.get(criterion, criterion))) is None:
            continue
        assert choice.use == row["use"]
        assert choice.is_shown == (row["use"] != "keep dense")
        assert str(row["chosen_on_dev"]) in choice.on_dev
        for columns in ("difference", "english"):
            ends = row[f"{columns}_ci_low"], row[f"{columns}_ci_high"]
            if None not in ends:
                assert f"({ends[0]:+.3f} to {ends[1]:+.3f})".replace("+0.000", " 0.000") in table
        if row["verdict"] != "no gain on dev":
            estimate = {"difference": row["difference"], "scale": row["scale"], "ci_level": 0.95}
            estimate |= {"ci_low": row["difference_ci_low"], "ci_high": row["difference_ci_high"]}
            assert estimate_of(estimate) in choice.change.replace("\N{MINUS SIGN}", "-")


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_what_to_use_for_swahili_and_what_english_pays_fit_one_screen_with_the_list_of_questions() -> None:
    with thawed("demo") as store, Catalog.in_memory(store) as catalog:
        answer = answer_user_query(catalog, "best_by_language")
    table = to_table(answer.result, TableOptions(80, first=answer.first, folded=answer.folded)).splitlines()
    (place,) = (place for place, line in enumerate(table) if line.startswith("sw "))
    shown = " ".join(table[place : place + 2]).split()
    assert {"keep", "dense", "shown", "wanda"} <= set(shown)
    assert sum(line.count(" to ") for line in table[place : place + 2]) == 2
    assert max(map(len, table)) <= 80
    assert len(table) + len(FIRST_QUESTIONS) + 2 + 2 <= 30


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_titles_say_what_the_two_sides_differ_in_and_no_name_of_an_entry() -> None:
    with thawed("where-gemma") as store, Catalog.in_memory(store) as catalog:
        titles = {row["name"]: row["title"] for row in run_user_query(catalog, "answers_to_questions", []).as_dicts()}
    lower = "Is perplexity in {} lower with Swahili text than with English text, in blocks {}?"
    assert titles == {
        "first": lower.format("Swahili", "0 to 8"),
        "first-in-english": lower.format("English", "0 to 8"),
        "last": lower.format("Swahili", "9 to 17"),
        "last-in-english": lower.format("English", "9 to 17"),
        "swahili-needs-the-last": "Is perplexity in Swahili lower with pruning in blocks 0 to 8 than with pruning in "
        "blocks 9 to 17, with English text?",
    }


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_titles_of_quantised_variants_say_bits_method_and_texts_and_no_name_of_an_entry() -> None:
    with thawed("bits") as store, Catalog.in_memory(store) as catalog:
        titles = {row["title"] for row in run_user_query(catalog, "answers_to_questions", []).as_dicts()}
    asked = "Is perplexity in all languages on average lower with GPTQ on a mix of Chinese, English, French, Hindi and"
    assert titles == {f"{asked} Swahili than with rounding to nearest, at {bits} bits?" for bits in (3, 4)}
