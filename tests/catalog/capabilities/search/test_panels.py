"""Pictures and sentences of searches."""

from typing import Any

import pytest

from catalog.capabilities.search.panels import best_trial, front_panels, trial_panels, verdict_sentence
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import Rows, drawn
from tests.catalog_data import N_TRIALS

TRIAL: dict[str, Any] = {"base_model": "tiny", "base_model_id": "m", "name": "blocks", "search_id": "s", "batch": 0}
TRIAL |= {"direction": "maximise", "rung": 0, "n_items": 10, "ci_low": None, "ci_high": None, "dense_objective": 0.5}
TRIAL |= {"is_feasible": True, "status": "kept", "is_new_best": False, "is_winner": False, "label": "w"}
FINAL: dict[str, Any] = {"name": "blocks", "role": "uniform", "verdict": "not shown", "split": "test"}
FINAL |= {"verdict_reason": None}
FINAL |= {
    "metric": "accuracy",
    "group_kind": "outside_english",
    "group_name": "",
    "tested_scale": "difference",
    "n_tests": 2,
}
FINAL |= {"tested_difference": 0.03, "tested_ci_low": -0.01, "tested_ci_high": 0.07, "p_corrected": 0.2}


def trial(number: int, **changes: Any) -> dict[str, Any]:
    point = {"0": 0.1 * number, "score": ["wanda", "ria"][number % 2]}
    row = {**TRIAL, "number": number, "n_items_so_far": 10 * (number + 1), "objective": 0.4 + 0.1 * number}
    return {**row, "point": point, **changes}


def test_the_best_so_far_is_that_of_the_highest_rung_until_there_is_a_winner() -> None:
    rows = [
        trial(0, is_new_best=True),
        trial(1, is_new_best=True),
        trial(2, rung=1, is_new_best=True),
        trial(3, rung=1),
    ]
    assert best_trial(rows) == rows[2]
    assert best_trial([*rows[:3], {**rows[3], "is_winner": True}])["number"] == 3  # type: ignore[index]


def test_trials_are_drawn_with_the_values_of_the_best_and_of_every_axis() -> None:
    rows = [trial(0, status="stopped"), trial(1, is_feasible=False), trial(2, is_new_best=True)]
    (group,) = trial_panels(rows)
    assert group.note.startswith("3 trials, 1 of them stopped; 30 items scored. The best so far is trial 2, w.")
    assert "best 0.600 at trial 2" in group.panels[0].label
    assert "best trial: score wanda, 0 0.2" in group.panels[1].label
    assert all(drawn(panel) for panel in group.panels)


def test_axes_with_one_value_are_not_drawn() -> None:
    (group,) = trial_panels([trial(0), trial(2, point=trial(0)["point"])])
    assert len(group.panels) == 1


def test_the_front_has_the_variants_that_none_beats_in_english_and_the_others(catalog: Catalog) -> None:
    rows = run_report_query(catalog, "search_fronts").rows
    values = {row["variant_id"]: (row["english_value"], row["others_value"]) for row in rows}
    assert len(values) == N_TRIALS + 1
    efficient = {
        key
        for key, (x, y) in values.items()
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in values.values())
    }
    assert {row["variant_id"] for row in rows if row["is_efficient"]} == efficient
    metrics = catalog.query("FROM metrics WHERE task = 'facts' AND split = 'dev' AND metric = 'accuracy'")
    for row in rows:
        own = {one["language"]: one["value"] for one in metrics if one["variant_id"] == row["variant_id"]}
        assert row["english_value"] == own.pop("en")
        assert row["others_value"] == pytest.approx(sum(own.values()) / len(own))
    (group,) = front_panels(rows)
    assert f"{len(efficient)} of {N_TRIALS + 1} variants are on the front" in group.panels[0].label


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("yes", "is significantly better than uniform (+0.030, −0.010 to +0.070, p = 0.200)"),
        ("not shown", "is not shown to differ from uniform"),
        ("no", "is significantly worse than uniform"),
    ],
)
def test_a_sentence_follows_from_the_verdict_and_not_from_the_difference(verdict: str, text: str) -> None:
    sentence = verdict_sentence(
        [{**FINAL, "role": "winner", "verdict": None, "p_corrected": None}, {**FINAL, "verdict": verdict}]
    )
    assert sentence.startswith(f"On test outside English (accuracy), the winner of blocks {text}")
    assert sentence.endswith("; p is corrected over a family of 2 tests.")


def test_without_a_test_nothing_is_said_about_a_difference() -> None:
    rows: Rows = {"one": [{**FINAL, "verdict": "cannot be asked", "p_corrected": None, "tested_difference": 0.5}]}
    assert verdict_sentence(rows["one"]) == "blocks: no test compares the winner with another variant."
    same = verdict_sentence([{**FINAL, "verdict": "cannot be asked", "verdict_reason": "it is the same variant"}])
    assert same.endswith("It is the same variant as uniform.")
