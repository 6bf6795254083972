"""Texts of an example that are translated, and the example built from the translations."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.capabilities.baselines.self_translation import WHOLE, SelfTranslateJob, in_english, source_texts
from mlprune.corpus.templates import format_labelled, language_label
from mlprune.descriptions import TemplateTask
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import Task, template_task
from mlprune.evaluation.tasks.task_files import ItemSelection, TaskData, read_items
from mlprune.hashing import ordered_by_hash
from mlprune.models.local_chain import local_chain
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.store.store import Store
from tests.scored_texts import score_of_text
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import CORPUS, N_FACTS, N_LINES, FinishedRun, fact, reference_model, results

ROWS: dict[str, dict[str, Any]] = {
    "xnli": {"premise": "Le chat dort", "hypothesis": "Il dort", "label": "neutral"},
    "marc": {"text": "mot " * 200, "label": 5},
    "marc_five": {"text": "Bien", "label": 4},
    "xcopa": {"premise": "Il pleut.", "choice1": "Nuages", "choice2": "Soleil", "question": "cause", "label": 1},
    "paws_x": {"sentence1": "Un", "sentence2": "Deux", "label": 0},
    "xstory_cloze": {f"input_sentence_{n}": f"Phrase {n}" for n in range(1, 5)}
    | {"sentence_quiz1": "Fin", "sentence_quiz2": "Autre", "answer_right_ending": "2"},
    "xwinograd": {"sentence": "Le _ dort", "option1": "chat", "option2": "chien", "answer": "1"},
    "belebele": {"flores_passage": "Texte", "question": "Quoi ?", "correct_answer_num": "3"}
    | {f"mc_answer{n}": f"Choix {n}" for n in range(1, 5)},
    "sib200": {"text": "Il skie", "category": "sports"},
    "multiblimp": {"sen": "Ils voient", "wrong_sen": "Ils voit"},
    "global_mmlu": {"question": "Combien ?", **{f"option_{x}": f"Option {x}" for x in "abcd"}, "answer": "C"},
    "mmmlu": {"question": "Combien ?", **{f"option_{x}": f"Option {x}" for x in "abcd"}, "answer": "C"},
    "mmlu_prox": {"question": "Combien ?", "options": ["Un", "Deux", "Trois"], "answer": "C"},
    "afrimmlu": {"question": "Combien ?", "options": ["Un", "Deux", "Trois", "Cinq"], "answer": 1},
    "masakhanews": {"headline": "Il court", "text": "mot " * 200, "category": "sports"},
    "global_piqa": {"prompt": "Il pleut", "solution0": "Courir", "solution1": "Dormir", "label": 1},
    "global_piqa_parallel": {"prompt": "Il pleut", **{f"solution{n}": f"Choix {n}" for n in range(4)}, "label": "2"},
    "m_hellaswag": {"activity_label": "Nager", "ctx_a": "Il nage", "ctx_b": "", "label": "1"}
    | {"endings": ["Il dort", "Il court"]},
    "xquad_spans": {"context": "Anne voit Luc", "question": "Qui ?", "candidates": ["Luc", "Anne"], "answer": "Anne"},
    "facts": {"prompt": "Paris est en <mask>.", "candidates": ["France", "Italie"], "answer": "France"},
}


def data_of(task: Task, row: dict[str, Any], folder: Path) -> TaskData:
    (folder / "fr.test.jsonl").write_text(json.dumps({"id": 7, **row}) + "\n", encoding="utf-8")
    return read_items(task, folder, ItemSelection("fr", "test"))


def translated(task: Task, data: TaskData) -> Any:
    """Example whose texts are translated to capital letters."""
    texts = {(text.example_id, text.key, text.index): f"EN {text.text.upper()}" for text in source_texts(task, data)}
    (item,) = in_english(task, data, texts)
    return item


@pytest.mark.parametrize("name", ROWS)
def test_right_answers_and_names_stay_and_no_text_of_the_language_is_left(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    data = data_of(task, ROWS[name], tmp_path)
    (before,), after = data.items, translated(task, data)
    assert (after.example_id, after.candidates, after.gold) == (before.example_id, before.candidates, before.gold)
    assert len(after.texts) == len(before.texts)
    for source in source_texts(task, data):
        assert source.text.lower() == source.text.upper() or not any(source.text in text for text in after.texts)
    assert all("EN " in text for text in after.texts)


@pytest.mark.parametrize("name", ["xwinograd", "facts"])
def test_a_text_with_a_gap_is_translated_whole_for_every_candidate(name: str, tmp_path: Path) -> None:
    data = data_of(TASKS[name], ROWS[name], tmp_path)
    texts = source_texts(TASKS[name], data)
    expected = [(WHOLE, index, text) for index, text in enumerate(data.items[0].texts)]
    assert [(text.key, text.index, text.text) for text in texts] == expected


def test_the_template_stays_english_around_translated_texts(tmp_path: Path) -> None:
    data = data_of(TASKS["xnli"], ROWS["xnli"], tmp_path)
    assert translated(TASKS["xnli"], data).texts == tuple(
        f"EN LE CHAT DORT , right?  {word} , EN IL DORT" for word in ("Yes", "Also", "No")
    )


def test_only_the_scored_words_of_a_review_are_translated(tmp_path: Path) -> None:
    data = data_of(TASKS["marc"], ROWS["marc"], tmp_path)
    (text,) = source_texts(TASKS["marc"], data)
    assert text.text == " ".join(["mot"] * 128)


def test_texts_and_candidates_of_a_template_task_are_translated(tmp_path: Path) -> None:
    record = TemplateTask(name="which", template="{text} {candidate}.", answer="right", candidates="options")
    row = {"text": "Il voit", "options": ["un chat", "un chien"], "right": "un chien"}
    task = template_task(record)
    item = translated(task, data_of(task, row, tmp_path))
    assert item.texts == ("EN IL VOIT EN UN CHAT.", "EN IL VOIT EN UN CHIEN.")
    assert (item.gold, item.candidates) == (1, ("un chat", "un chien"))


def test_the_answer_of_candidates_in_several_columns_stays(tmp_path: Path) -> None:
    record = TemplateTask(
        name="which", template="{text} {candidate}.", answer="right", candidates=("a", "b"), answer_as="number_from_1"
    )
    task = template_task(record)
    item = translated(task, data_of(task, {"text": "Il voit", "a": "un chat", "b": "un chien", "right": "1"}, tmp_path))
    assert item.texts == ("EN IL VOIT EN UN CHAT.", "EN IL VOIT EN UN CHIEN.")
    assert (item.gold, item.candidates) == (0, ("un chat", "un chien"))


def test_a_blank_part_of_an_item_is_not_translated(tmp_path: Path) -> None:
    data = data_of(TASKS["m_hellaswag"], ROWS["m_hellaswag"], tmp_path)
    texts = source_texts(TASKS["m_hellaswag"], data)
    assert [text.key for text in texts] == ["activity_label", "ctx_a", "endings", "endings"]
    assert translated(TASKS["m_hellaswag"], data).texts[1] == "EN NAGER: EN IL NAGE EN IL COURT"


def test_labels_of_a_template_task_are_not_translated(tmp_path: Path) -> None:
    task = template_task(
        TemplateTask(name="mood", template="{text} It is {candidate}.", answer="label", labels=("sad", "glad"))
    )
    data = data_of(task, {"text": "Il rit", "label": "glad"}, tmp_path)
    assert [text.key for text in source_texts(task, data)] == ["text"]
    assert translated(task, data).texts == ("EN IL RIT It is sad.", "EN IL RIT It is glad.")


END = "</s>"
NEW_TOKENS = 4


def jobs_of(run: FinishedRun) -> list[SelfTranslateJob]:
    return [job for job in run.plan.jobs if isinstance(job, SelfTranslateJob)]


def table_of(run: FinishedRun, task: str, language: str) -> dict[str, list[Any]]:
    (job,) = (planned for planned in jobs_of(run) if (planned.task.task, planned.task.language) == (task, language))
    return run.store.read_table(run.store.require(*job.identity.key).artefacts[0])


def evaluation(run: FinishedRun, name: str, task: str, language: str) -> EvaluationSpec:
    variants = run.named(name) or [variant for variant in run.plan.variants.values() if variant.label == name]
    jobs = [job for job in run.plan.jobs if isinstance(job, EvaluateJob)]
    (job,) = (planned for planned in jobs if planned.variant_id == variants[0].id)
    key = (task, language, "mean")
    return next(spec for spec in job.evaluations if (spec.task.task, spec.task.language, spec.task.rule) == key)


def prompt_of(language: str, text: str) -> str:
    (line,) = ordered_by_hash(0, range(N_LINES))[:1]
    shot = (CORPUS[language].format(n=line), CORPUS["en"].format(n=line))
    shown = format_labelled(language, shot[0], END) + format_labelled("en", shot[1], END)
    return f"{shown}{format_labelled(language, text, END)}{language_label('en')}:"


def mean_score(model: Any, text: str) -> float:
    total, n_tokens = score_of_text(model, text)
    return total / n_tokens


def test_texts_are_translated_greedily_after_the_first_sentences_of_the_corpus(baseline_run: FinishedRun) -> None:
    model, tokenizer = reference_model(baseline_run.folder / "model"), tiny_tokenizer()
    table = table_of(baseline_run, "facts", "fr")
    for index in range(0, len(table["text"]), 5):
        tokens = tokenizer(prompt_of("fr", table["text"][index]))["input_ids"]
        n_prompt = len(tokens)
        for _ in range(NEW_TOKENS):
            with torch.no_grad():
                token = int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            tokens.append(token)
        expected = tokenizer.decode(tokens[n_prompt:], skip_special_tokens=True).strip()
        assert table["translation"][index] == (expected if len(tokenizer(expected)["input_ids"]) > 1 else "")


def test_every_text_of_every_example_has_its_own_row(baseline_run: FinishedRun) -> None:
    table = table_of(baseline_run, "facts", "fr")
    expected = [
        (str(number), "text", index, fact("fr", number)["prompt"].replace("<mask>", candidate))
        for number in range(N_FACTS)
        for index, candidate in enumerate(fact("fr", number)["candidates"])
    ]
    rows = zip(*(table[key] for key in ("example_id", "key", "index", "text")), strict=True)
    assert list(rows) == expected
    described = table_of(baseline_run, "which", "fr")
    assert [described["key"][row] for row in range(4)] == ["text", "options", "options", "options"]
    for name, language in (("facts", "fr"), ("which", "fr")):
        table = table_of(baseline_run, name, language)
        rows_of_task = [row for row in baseline_run.rows("self_translations") if row["task"] == name]
        (row,) = (row for row in rows_of_task if row["language"] == language)
        assert row["n_texts"] == len(table["text"])
        assert row["n_distinct"] == len(set(table["text"]))
        assert row["n_empty"] == table["translation"].count("")


def test_the_translations_are_evaluated(baseline_run: FinishedRun) -> None:
    model = reference_model(baseline_run.folder / "model")
    table = table_of(baseline_run, "facts", "sw")
    texts = [translation or text for text, translation in zip(table["text"], table["translation"], strict=True)]
    assert texts != table["text"]
    stored = predictions_of(baseline_run.store, evaluation(baseline_run, "translate", "facts", "sw"))
    scores = [score for item in stored.item_scores() for score in item]
    assert scores == pytest.approx([mean_score(model, text) for text in texts], abs=1e-5)
    plain = predictions_of(baseline_run.store, evaluation(baseline_run, "dense", "facts", "sw"))
    assert (stored.example_ids, stored.candidates) == (plain.example_ids, plain.candidates)
    assert list(stored.gold) == list(plain.gold)


def test_a_template_is_filled_with_the_translations(baseline_run: FinishedRun) -> None:
    model = reference_model(baseline_run.folder / "model")
    table = table_of(baseline_run, "mood", "fr")
    texts = [translation or text for text, translation in zip(table["text"], table["translation"], strict=True)]
    expected = [mean_score(model, f"{text} It is {label}.") for text in texts for label in ("sad", "glad")]
    stored = predictions_of(baseline_run.store, evaluation(baseline_run, "translate", "mood", "fr"))
    assert [score for item in stored.item_scores() for score in item] == pytest.approx(expected, abs=1e-5)


def test_english_examples_are_not_translated(baseline_run: FinishedRun) -> None:
    assert "en" not in {job.task.language for job in jobs_of(baseline_run)}
    files = {
        baseline_run.store.require(*spec.identity.key).artefacts[0].sha256
        for spec in (evaluation(baseline_run, name, "facts", "en") for name in ("dense", "translate"))
    }
    assert len(files) == 1


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("n_shards", [2, 3])
def test_a_chain_of_shards_gives_the_same_translations(
    baseline_run: FinishedRun, tmp_path: Path, n_shards: int
) -> None:
    store, model = Store(tmp_path), baseline_run.plan.model
    chain = functools.cache(lambda: local_chain(Path(model.path), n_shards=n_shards, dtype=model.dtype))
    for job in jobs_of(baseline_run):
        job.run(store, chain)
    expected, sharded = results(baseline_run.store), results(store)
    assert sharded == {name: expected[name] for name in sharded}
    assert len(sharded) == 2 * len(jobs_of(baseline_run))
