"""A whole run with generated answers: texts, answers and credits against plain loops, and what the catalog shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from catalog.queries import run_user_query
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.capabilities.harness.answered_items import answered_translations
from mlprune.errors import BadInputError, RecipeError
from mlprune.planning import build_plan
from mlprune.recipe.loading import load_recipe, parse_recipe
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.rescore.verify import Recheck
from tests.chat_models import ALTERNATING, chat_tokenizer
from tests.published_data import PUBLISHED
from tests.refusals import refused
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun, finished_run, reference_model, write_recipe, write_texts

N = 6
STOP = "EE"
TASK = {"name": "qa", "template": "Q: {q}\nA:", "answer": "a", "cluster": "page"} | {
    "generate": {"extract": "all", "stop": [STOP], "max_new_tokens": 6}
}
OWN = {"task": "qa", "path": "own", "languages": ["en", "fr"]}
MGSM = {"task": "mgsm", "path": "mgsm", "languages": ["fr"], "limit": 2, "max_new_tokens": 4}


def recipe() -> dict[str, Any]:
    return {
        "name": "answers",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "tasks": [TASK],
        "variants": [
            {"name": "m", "score": "magnitude", "sparsity": 0.5, "against": ["r"]},
            {"name": "r", "score": "random", "sparsity": 0.5},
        ],
        "evaluations": [
            OWN,
            {**OWN, "languages": ["fr"], "chat": True, "max_new_tokens": 5},
            {**MGSM, "prompt_language": ["en", "native"]},
            {**MGSM, "prompt_language": "native", "shots": 2, "shots_split": "train", "shot_seed": [3, 4]},
        ],
        "compute": {"batch_tokens": 64},
    }


def plain_output(folder: Path, prompt: str, *, n_new: int, stops: tuple[str, ...], ends: tuple[str, ...]) -> str:
    """Decode a prompt alone and without a cache; the text before the first stop."""
    model, tokenizer = reference_model(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt, add_special_tokens=not prompt.startswith("</s>"))["input_ids"]
    new: list[int] = []
    while len(new) < n_new:
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax())
        if token in tokenizer.convert_tokens_to_ids(list(ends)):
            break
        new.append(token)
    text = str(tokenizer.decode(new, skip_special_tokens=True)).strip()
    for stop in stops:
        text = text.partition(stop)[0]
    return text.strip()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("answers")
    write_texts(folder)
    model = save_tiny_model(folder / "model", positions=400, seed=22)
    chat_tokenizer(ALTERNATING).save_pretrained(model)
    PUBLISHED["mgsm"].write(folder)
    (folder / "own").mkdir()
    for language in ("en", "fr"):
        rows = []
        for n in range(N):
            text = plain_output(model, f"Q: {n} {language}?\nA:", n_new=6, stops=(STOP,), ends=("</s>",))
            answers = [["other", f" {text.upper()}. "], f"{text} and more", n][n % 3] if text else "none"
            rows.append({"id": n, "q": f"{n} {language}?", "a": answers, "page": f"page {n // 2}"})
        (folder / "own" / f"{language}.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return finished_run(folder, recipe(), name="answers")


@pytest.fixture(scope="module")
def catalog(run: FinishedRun) -> Iterator[Catalog]:
    with Catalog.in_memory(run.store) as opened:
        yield opened


def evaluation(run: FinishedRun, **wanted: Any) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Row and predictions of the dense evaluation with these values."""
    dense = next(variant.id for variant in run.plan.variants.values() if variant.is_dense)
    (record,) = (
        record
        for record in run.store.records("evaluations")
        if (row := record.rows["evaluations"][0])["variant_id"] == dense
        and all(row.get(key) == value for key, value in wanted.items())
    )
    return dict(record.rows["evaluations"][0]), run.store.read_table(record.artefacts[0])


@pytest.mark.thorough("runs recipes of its own")
@pytest.mark.parametrize("language", ["en", "fr"])
def test_texts_are_those_of_prompts_decoded_alone_and_end_before_a_stop(run: FinishedRun, language: str) -> None:
    _, table = evaluation(run, task="qa", language=language, chat_system=None, max_new_tokens=6)
    for n in range(N):
        prompt = f"Q: {n} {language}?\nA:"
        assert table["prompt"][n] == prompt
        expected = plain_output(run.folder / "model", prompt, n_new=6, stops=(STOP,), ends=("</s>",))
        assert table["output"][n] == table["answer"][n] == expected
    assert table["cluster"] == [f"page {n // 2}" for n in range(N)]
    assert any(table["output"])


def plain_credit(answer: str, accepted: list[str]) -> tuple[bool, float]:
    """Exact match and F1 of ASCII texts without articles."""

    def words(text: str) -> list[str]:
        return "".join(char for char in text.lower() if char.isalnum() or char.isspace()).split()

    best = 0.0
    for one in accepted:
        common, rest = 0, words(one)
        for word in words(answer):
            if word in rest:
                rest.remove(word)
                common += 1
        best = max(best, 2 * common / (len(words(answer)) + len(words(one))) if common else 0.0)
    shown = words(answer) or [answer.strip()]
    is_right = any(answer.strip() and shown == (words(one) or [one.strip()]) for one in accepted)
    return is_right, 1.0 if is_right else best


def test_credits_and_metrics_are_those_of_plain_loops(run: FinishedRun) -> None:
    row, table = evaluation(run, task="qa", language="fr", max_new_tokens=6)
    for n in range(N):
        expected = plain_credit(table["answer"][n], table["reference"][n].split("\n"))
        assert (table["is_right"][n], table["token_f1"][n]) == (expected[0], pytest.approx(expected[1])), n
    assert 0 < sum(table["is_right"]) < N
    metrics = {m["metric"]: m for m in run.rows("metrics") if m["evaluation_id"] == row["evaluation_id"]}
    assert set(metrics) == {"exact_match", "token_f1"}
    for name, column in (("exact_match", "is_right"), ("token_f1", "token_f1")):
        assert metrics[name]["value"] == pytest.approx(sum(table[column]) / N)
        assert metrics[name]["ci_low"] <= metrics[name]["value"] <= metrics[name]["ci_high"]
        assert metrics[name]["n_clusters"] == N // 2


def test_a_chat_asks_in_a_turn_of_the_user_and_ends_with_the_turn(run: FinishedRun) -> None:
    _, table = evaluation(run, task="qa", language="fr", max_new_tokens=5)
    for n in range(N):
        prompt = f"</s><u>Q: {n} fr?\nA:<|e|>\n<a>"
        assert table["prompt"][n] == prompt
        expected = plain_output(run.folder / "model", prompt, n_new=5, stops=(STOP,), ends=("</s>", "<|e|>"))
        assert table["output"][n] == expected


@pytest.mark.parametrize(("prompts", "start"), [("en", "Question: "), ("native", "Question : ")])
def test_a_published_set_is_asked_in_english_or_in_its_language(run: FinishedRun, prompts: str, start: str) -> None:
    row, table = evaluation(run, task="mgsm", prompts=prompts, n_shots=0)
    assert (row["scoring_rule"], row["max_new_tokens"], row["n_examples"]) == ("greedy", 4, 2)
    assert all(prompt.startswith(start) for prompt in table["prompt"])
    assert set(table["reference"]) <= {"1", *(f"{n},000" for n in range(2, 7))}


def test_shots_are_solved_problems_of_another_split(run: FinishedRun) -> None:
    starts = set()
    for seed in (3, 4):
        _, table = evaluation(run, task="mgsm", prompts="native", n_shots=2, shot_seed=seed)
        for prompt in table["prompt"]:
            *shots, asked = prompt.split("\n\n")
            starts.add("\n\n".join(shots))
            assert len(shots) == 2
            assert re.fullmatch(r"Question : \d chats\?\nRéponse étape par étape :", asked)
            for shot in shots:
                n = int(re.findall(r"Question : (\d)", shot)[0])
                solved = f"{n} + 1 = {n + 1}. ({n + 1})."
                assert shot == f"Question : {n} chats?\nRéponse étape par étape : {solved}"
                assert f"{n} chats?" not in asked
    assert len(starts) == 2


def test_variants_are_compared_on_both_metrics(run: FinishedRun) -> None:
    records = run.store.records("comparisons")
    rows = [row for record in records for rows in record.rows.values() for row in rows if "difference" in row]
    assert {row["metric"] for row in rows} == {"exact_match", "token_f1"}
    assert all(row["ci_low"] <= row["difference"] <= row["ci_high"] for row in rows)


def test_stored_results_follow_from_stored_predictions(run: FinishedRun) -> None:
    recheck = Recheck(run.store, lambda _: run.folder / "model")
    records = list(run.store.records("evaluations"))
    assert records
    assert [recheck.contradictions(record) for record in records] == [[]] * len(records)


@pytest.mark.thorough("runs recipes of its own")
def test_queries_show_texts_and_answers(run: FinishedRun, catalog: Catalog) -> None:
    row, table = evaluation(run, task="qa", language="fr", max_new_tokens=6)
    shown = run_user_query(catalog, "examples_of_evaluation", [f"evaluation_id={row['evaluation_id']}"]).as_dicts()
    by_id = {one["example_id"]: one for one in shown}
    for n in range(N):
        one = by_id[str(n)]
        assert (one["output"], one["chosen"], one["is_right"]) == (
            table["output"][n],
            table["answer"][n],
            table["is_right"][n],
        )
    answers = catalog.query("SELECT * FROM item_answers('qa', of_language := 'fr', of_variant := 'dense')")
    assert {one["example_id"] for one in answers if one["is_right"]} >= {
        str(n) for n in range(N) if table["is_right"][n]
    }


def test_the_report_shows_questions_and_texts_side_by_side(run: FinishedRun, catalog: Catalog) -> None:
    _, table = evaluation(run, task="qa", language="fr", max_new_tokens=6)
    choices = [row for row in catalog.query(statement("report", "generation_variants")) if row["task"] == "qa"]
    (chosen,) = choices
    rows = [
        row
        for row in catalog.query(statement("report", "generations"), chosen)
        if row["language"] == "fr" and "chat" not in str(row["scoring_rule"])
    ]
    assert {(row["example_id"], row["source"], row["dense_output"]) for row in rows} == {
        (str(n), f"Q: {n} fr?\nA:", table["output"][n]) for n in range(N)
    }


def test_items_in_the_format_of_every_eval_ever_have_the_answers(run: FinishedRun) -> None:
    _, table = evaluation(run, task="qa", language="fr", max_new_tokens=6)
    questions = {"example_id": table["example_id"], "source": table["prompt"]}
    items = answered_translations(table, questions)
    assert [(item.question, item.chosen, item.credit) for item in items] == [
        (table["prompt"][n], (table["answer"][n],), float(table["is_right"][n])) for n in range(N)
    ]


@pytest.mark.parametrize(
    "generate",
    [{"extract": "regex"}, {"pattern": "x"}, {"letters": "AB"}, {"stop": [""]}, {"max_new_tokens": 0}],
)
def test_a_wrong_rule_is_refused(run: FinishedRun, generate: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        parse_recipe({**recipe(), "tasks": [{**TASK, "generate": generate}]}, folder=run.folder)


@pytest.mark.parametrize("key", [{"labels": ["a", "b"]}, {"candidates": "c"}, {"template": "{q} {candidate}"}])
def test_keys_of_a_choice_are_refused_with_generate(run: FinishedRun, key: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        parse_recipe({**recipe(), "tasks": [{**TASK, **key}]}, folder=run.folder)


def test_baselines_that_need_candidates_skip_generated_answers(run: FinishedRun) -> None:
    mono = {"name": "mono", "kind": "monolingual", "language": ["en", "fr"], "shots": 2, "samples": 2, "max_tokens": 48}
    baselines = [
        {"name": "lrp2", "kind": "lrp2", "demonstrations": "mono"},
        {"name": "translate", "kind": "self_translate", "shots": 1, "max_new_tokens": 4},
    ]
    changed = {**recipe(), "demonstrations": [mono], "baselines": baselines, "evaluations": [OWN]}
    plan = build_plan(load_recipe(write_recipe(run.folder, changed, name="baselines.yaml")))
    evaluated = {job.variant_id for job in plan.jobs if isinstance(job, EvaluateJob)}
    skipped = {one.label.partition(" ")[0] for one in plan.variants.values() if one.id not in evaluated}
    assert skipped == {"lrp2", "self-translate"}


def test_a_pattern_that_cannot_be_used_is_refused_when_the_recipe_is_planned(run: FinishedRun) -> None:
    task = {**TASK, "generate": {"extract": "regex", "pattern": r"(\d+)"}}
    with refused(BadInputError, got=r"(\d+)"):
        build_plan(load_recipe(write_recipe(run.folder, {**recipe(), "tasks": [task]}, name="pattern.yaml")))


OTHER_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"rule": "pmi"}, "rule"),
    ({"profile": "paper"}, "profile"),
    ({"shots": 2}, "shots"),
    ({"shots_from": "x"}, "shots_from"),
    ({"shots": 9, "shots_split": "test"}, "shots"),
]


@pytest.mark.parametrize(("entry", "key"), OTHER_KEYS)
def test_keys_of_candidates_are_refused_for_generated_answers(
    run: FinishedRun, entry: dict[str, Any], key: str
) -> None:
    changed = {**recipe(), "evaluations": [{**OWN, **entry}]}
    with pytest.raises(RecipeError) as err:
        build_plan(load_recipe(write_recipe(run.folder, changed, name="keys.yaml")))
    assert key in str(err.value)
