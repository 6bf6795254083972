"""Lines that say what the questions of a recipe can find, before it runs."""

from pathlib import Path
from typing import Any

from mlprune.planning.text.question_lines import MAX_QUESTION_CELLS, question_lines
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.questions.declarations import declarations
from mlprune.store.store import Store
from tests.tiny_recipes import plan_of, small_recipe, write_recipe

GAIN: dict[str, Any] = {"name": "helps", "variants": "ordering", "task": "facts", "languages": "outside_english"}
MARGIN: dict[str, Any] = {
    "name": "keeps",
    "variants": "ordering",
    "task": "facts",
    "languages": "en",
    "claim": "noninferior",
    "margin": 0.01,
}


def lines_of(folder: Path, store: Store, *questions: dict[str, Any], is_detailed: bool = True) -> list[str]:
    path = write_recipe(folder, {**small_recipe(), "questions": list(questions)}, name="asked.yaml")
    plan = plan_of(path)
    return question_lines(plan, store, declarations(plan.questions, store), is_detailed=is_detailed)


def test_a_recipe_without_questions_has_no_lines(own_inputs: Path, tmp_path: Path) -> None:
    assert lines_of(own_inputs, Store(str(tmp_path))) == []


def test_each_declared_question_has_a_line_and_then_its_warnings(own_inputs: Path, tmp_path: Path) -> None:
    head, gain, margin, *warnings = lines_of(own_inputs, Store(str(tmp_path)), GAIN, MARGIN)
    assert head.startswith("questions: 2 declared")
    assert all(
        words in gain for words in ("helps: gain in accuracy, outside_english; 2 tests", "gain found with 80 % power")
    )
    assert all(words in margin for words in ("within 1.0 points", "2 tests", "testable margin"))
    warnings = [line for line in warnings if "exploratory family" not in line]
    assert [line.split(":")[1] for line in warnings] == [
        " question helps",
        " questions helps, keeps",
        " question keeps",
    ]
    assert "a margin of 1.0 points needs about" in warnings[2]


def test_without_details_a_question_says_what_it_can_find_and_its_name_is_not_cut(
    own_inputs: Path, tmp_path: Path
) -> None:
    long_name = {**GAIN, "name": "x" * 200, "languages": "all"}
    head, *lines = lines_of(own_inputs, Store(str(tmp_path)), GAIN, MARGIN, long_name, is_detailed=False)
    assert "mlprune plan --power" in head
    text = " ".join(lines)
    assert "  helps" in text
    assert "  keeps" in text
    assert "or more" in text or "cannot decide" in text
    assert not [word for word in ("noninferior", "outside_english") if word in text]
    assert "can only show" in text
    assert f"  {'x' * 200}" in lines
    assert max(len(line) for line in lines if "xxx" not in line) <= MAX_QUESTION_CELLS


def test_a_title_is_shown_in_place_of_the_name(own_inputs: Path, tmp_path: Path) -> None:
    _, title, text = lines_of(own_inputs, Store(str(tmp_path)), {**GAIN, "title": "Does it help?"}, is_detailed=False)[
        :3
    ]
    assert title == "  Does it help?"
    assert text.startswith("    2 tests: ")


def test_an_unknown_power_has_its_reason_next_to_it(own_inputs: Path, tmp_path: Path) -> None:
    texts = {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": 20}
    recipe = small_recipe()
    recipe["evaluations"] = [*recipe["evaluations"], texts]
    for question in ({**GAIN, "task": "perplexity"}, {**MARGIN, "task": "perplexity"}):
        path = write_recipe(own_inputs, {**recipe, "questions": [question]}, name="asked.yaml")
        plan, store = plan_of(path), Store(str(tmp_path))
        for is_detailed in (False, True):
            lines = question_lines(plan, store, declarations(plan.questions, store), is_detailed=is_detailed)
            assert "unknown (no perplexity measured yet)" in " ".join(lines[1:3])
            assert is_detailed or max(map(len, lines[1:3])) <= MAX_QUESTION_CELLS


def test_a_question_that_comes_after_its_results_is_reported_as_exploratory(own_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    path = write_recipe(own_inputs, {**small_recipe(), "questions": [MARGIN]}, name="asked.yaml")
    plan = plan_of(path)
    for evaluation in (one for job in plan.jobs if isinstance(job, EvaluateJob) for one in job.evaluations):
        store.write_record(evaluation.identity.record(rows={"metrics": []}))
    after = declarations(plan.questions, store)
    lines = question_lines(plan, store, after, is_detailed=True)
    warnings = [line for line in lines if "exploratory" in line and line.startswith("warning")]
    assert len(warnings) == 1
    assert "2 results existed before" in warnings[0]
    assert any(line.endswith("; exploratory: results existed") for line in question_lines(plan, store, after))


def test_a_mean_counts_its_comparisons_and_seeds(own_inputs: Path, tmp_path: Path) -> None:
    _, line, *_ = lines_of(own_inputs, Store(str(tmp_path)), {**MARGIN, "over": "mean"})
    assert "1 test of the mean of 2 comparisons and 1 seed" in line


def test_the_exploratory_family_is_described_with_its_size_and_smallest_p_value(
    own_inputs: Path, tmp_path: Path
) -> None:
    lines = [line for line in lines_of(own_inputs, Store(str(tmp_path)), GAIN) if "exploratory family" in line]
    assert lines
    assert all("tests of a metric, smallest p" in line for line in lines if not line.startswith("warning"))


def test_a_declaration_that_the_recipe_has_left_out_is_reported(own_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    lines_of(own_inputs, store, GAIN, MARGIN)
    plan = plan_of(own_inputs / "asked.yaml")
    store.write_record(plan.record_with(declarations(plan.questions, store)))
    for is_detailed in (False, True):
        assert not [line for line in lines_of(own_inputs, store, GAIN, MARGIN) if "declared other" in line]
        lines = lines_of(own_inputs, store, {**GAIN, "languages": "en"}, MARGIN, is_detailed=is_detailed)
        (warning,) = [line for line in lines if "declared other" in line]
        assert warning.startswith("warning: ")
        assert "(helps)" in warning
