"""Texts of an example that are translated, and the example built from the translations."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlprune.evaluation.self_translation_prompts import WHOLE, in_english, source_texts
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import Task
from mlprune.evaluation.tasks.task_files import TaskData, read_items
from mlprune.evaluation.tasks.template_tasks import TemplateTask, template_task

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
    "xquad_spans": {"context": "Anne voit Luc", "question": "Qui ?", "candidates": ["Luc", "Anne"], "answer": "Anne"},
    "facts": {"prompt": "Paris est en <mask>.", "candidates": ["France", "Italie"], "answer": "France"},
}


def data_of(task: Task, row: dict[str, Any], folder: Path) -> TaskData:
    (folder / "fr.test.jsonl").write_text(json.dumps({"id": 7, **row}) + "\n", encoding="utf-8")
    return read_items(task, folder, language="fr", split="test")


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
    assert [(text.key, text.index, text.text) for text in texts] == [
        (WHOLE, index, text) for index, text in enumerate(data.items[0].texts)
    ]


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
    record = TemplateTask("which", "{text} {candidate}.", "right", candidates="options")
    row = {"text": "Il voit", "options": ["un chat", "un chien"], "right": "un chien"}
    task = template_task(record)
    item = translated(task, data_of(task, row, tmp_path))
    assert item.texts == ("EN IL VOIT EN UN CHAT.", "EN IL VOIT EN UN CHIEN.")
    assert (item.gold, item.candidates) == (1, ("un chat", "un chien"))


def test_labels_of_a_template_task_are_not_translated(tmp_path: Path) -> None:
    task = template_task(TemplateTask("mood", "{text} It is {candidate}.", "label", labels=("sad", "glad")))
    data = data_of(task, {"text": "Il rit", "label": "glad"}, tmp_path)
    assert [text.key for text in source_texts(task, data)] == ["text"]
    assert translated(task, data).texts == ("EN IL RIT It is sad.", "EN IL RIT It is glad.")
