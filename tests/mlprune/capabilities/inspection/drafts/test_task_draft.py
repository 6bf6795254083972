"""Drafts of tasks for tables in no known layout: what is guessed, what is marked, and that their size is bounded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mlprune.capabilities.inspection.drafts import table_heads
from mlprune.capabilities.inspection.drafts.table_heads import SQUAD_PAGE
from mlprune.capabilities.inspection.drafts.task_draft import draft_task
from mlprune.corpus.layouts.text_tables import table_sources
from tests.published_data import json_lines, write_text
from tests.published_forms import FORMS

MOST_LINES = 24
"""Lines of a draft; an error is one more line."""
QUIZ = "qid,question,A,B,C,gold\n1,Wapi?,a,b,c,A\n2,Nani?,e,f,g,C\n"
LANGUAGES = {"ace": "acehnese", "ban": "balinese"}
MOOD = "ID\ttweet\tlabel\n" + "".join(f"{n}\tfuraha {n}\t{('neutral', 'positive')[n % 2]}\n" for n in range(20))


def drafted(folder: Path) -> dict[str, Any]:
    """The task of a draft, with its evaluation as a further key, and its comments."""
    text = draft_task(folder)
    lines = text.splitlines()
    assert len(lines) <= MOST_LINES
    assert all(line.isprintable() and len(line) < 400 for line in lines)
    recipe = yaml.safe_load(text)
    (task,), (evaluation,) = recipe["tasks"], recipe["evaluations"]
    assert evaluation["task"] == task["name"]
    assert evaluation["path"] == str(folder)
    return {**task, "evaluation": evaluation, "comments": [line for line in lines if line.startswith("#")]}


def is_read(draft: Mapping[str, Any], n: int) -> bool:
    """Whether a recipe with the draft would read n items."""
    return any(f"read as it is: {n} items" in line for line in draft["comments"])


def test_a_file_in_the_format_of_squad_is_named_with_the_page_that_has_a_task_for_it(tmp_path: Path) -> None:
    FORMS["mlqa"].write(tmp_path)
    (line,) = draft_task(tmp_path).splitlines()
    assert "SQuAD" in line
    assert SQUAD_PAGE in line


def test_an_array_inside_an_object_is_drafted_by_its_rows(tmp_path: Path) -> None:
    FORMS["indic_xnli"].write(tmp_path)
    draft = drafted(tmp_path)
    assert is_read(draft, 2)
    assert draft["answer"] == "label"
    assert "{premise}" in draft["template"]


def test_a_table_with_ids_and_flags_is_no_parallel_text(tmp_path: Path) -> None:
    """The tag of Indonesian is `id`."""
    FORMS["arabic_mmlu"].write(tmp_path)
    assert table_sources(tmp_path) == []


def test_a_table_with_a_column_per_candidate(tmp_path: Path) -> None:
    for name in ("sw/test.csv", "fr/test.csv", "fr/dev.csv"):
        write_text(tmp_path / name, QUIZ)
    write_text(tmp_path / "README.md", "quiz")
    draft = drafted(tmp_path)
    assert draft["template"] == "{question} {candidate}"
    assert draft["candidates"] == ["A", "B", "C"]
    assert (draft["answer"], draft["answer_as"], draft["id"]) == ("gold", "letter", ["qid"])
    assert draft["files"] == "{language}/{split}.csv"
    assert (draft["evaluation"]["languages"], draft["evaluation"]["split"]) == (["fr", "sw"], "test")
    assert is_read(draft, 2)
    assert any("not read: 1" in line for line in draft["comments"])


def test_labels_and_languages_are_those_of_the_files(tmp_path: Path) -> None:
    for code in ("yor", "swa"):
        write_text(tmp_path / f"mood/{code}_test.tsv", MOOD)
    draft = drafted(tmp_path)
    assert (draft["labels"], draft["answer"], draft["id"]) == (["neutral", "positive"], "label", ["ID"])
    assert (draft["template"], draft["files"]) == ("{tweet} {candidate}", "mood/{language}_{split}.tsv")
    assert draft["evaluation"]["languages"] == ["sw", "yo"]
    assert is_read(draft, 20)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "q", "choices": ["a", "b"], "answer": 1}, {"candidates": "choices", "answer_as": "number"}),
        ({"question": "q", "options": "['a', 'b']", "answer": "b"}, {"candidates": "options", "answer_as": "text"}),
        ({"premise": "p", "choice1": "a", "choice2": "b", "label": 2}, {"answer_as": "number_from_1"}),
        ({"good_sentence": "a", "bad_sentence": "b"}, {"answer": "good_sentence", "template": "{candidate}"}),
        ({"The text": "a long text?", "opt_a": "a", "opt_b": "b", "gold": "B"}, {"columns": {"The_text": "The text"}}),
        ({"question": "q", "answers": ["a", "b c"]}, {"generate": {"max_new_tokens": 16}, "template": "{question}"}),
        ({"sentence": "s", "label": 4}, {"labels": ["3", "4"], "answer_as": "text"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_is_guessed_from_names_and_values_is_read(
    tmp_path: Path, row: dict[str, Any], expected: dict[str, Any]
) -> None:
    second = {**row, "label": 3} if row.get("label") == 4 else row
    json_lines(tmp_path / "sw.jsonl", [row, row, second])
    draft = drafted(tmp_path)
    assert draft | expected == draft
    assert is_read(draft, 3)


def test_a_table_without_a_header_is_described_by_positions(tmp_path: Path) -> None:
    rows = [f"this is the first sentence {n}\tthis is the other one {n}\t{'ab'[n % 2]}x\n" for n in range(9)]
    write_text(tmp_path / "dev-fr.tsv", "".join(rows))
    draft = drafted(tmp_path)
    assert draft["columns"] == {"text1": 0, "text2": 1, "label": 2}
    assert draft["labels"] == ["ax", "bx"]
    assert is_read(draft, 9)


def test_parquet_and_long_lists_of_columns(tmp_path: Path) -> None:
    row = {"question": "q", **{f"option_{letter}": letter for letter in "abcd"}, "answer": "C"}
    pq.write_table(pa.Table.from_pylist([{**row, **{f"meta{n}x": n for n in range(99)}}]), tmp_path / "fr.parquet")
    draft = drafted(tmp_path)
    assert draft["candidates"] == ["option_a", "option_b", "option_c", "option_d"]
    assert is_read(draft, 1)
    assert any("and 87 more" in line for line in draft["comments"])


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sw.csv": QUIZ.replace(",", ";")}, {"delimiter": ";", "files": "{language}.csv"}),
        ({f"{name}.csv": QUIZ for name in ("law", "physics")}, {"files": "*.csv"}),
        ({f"rule_{n}_test.csv": QUIZ for n in range(67)}, {"files": "rule_*_{split}.csv"}),
        ({f"{name}/test.csv": QUIZ for name in LANGUAGES.values()}, {"languages": LANGUAGES}),
        ({"data.json": json.dumps([{"question": "q", "A": "a", "B": "b", "answer": "A"}])}, {"files": "data.json"}),
    ],
    ids=["delimiter", "one language", "many files", "names of languages", "array"],
)  # fmt: skip
def test_other_forms_are_drafted_and_marked_if_a_recipe_would_refuse_them(
    tmp_path: Path, files: dict[str, str], expected: dict[str, Any]
) -> None:
    for name, text in files.items():
        write_text(tmp_path / name, text)
    draft = drafted(tmp_path)
    assert draft | expected == draft
    assert is_read(draft, 2 * len(files)) or any(
        mark in line
        for line in draft["comments"]
        for mark in ("not complete: ", "refused as it is: ", "read as it is: ")
    )


def test_what_cannot_be_guessed_is_marked_and_says_so(tmp_path: Path) -> None:
    write_text(tmp_path / "fr.csv", "x,y\nun deux trois quatre cinq,1.5\n")
    draft = drafted(tmp_path)
    assert draft["answer"] == "ANSWER"
    assert any("refused as it is: " in line for line in draft["comments"])
    json_lines(tmp_path / "fr.jsonl", [{"text": "only one label here", "label": "a"}] * 3)
    (tmp_path / "fr.csv").unlink()
    assert any("not complete: " in line for line in drafted(tmp_path)["comments"])


HOSTILE = {
    "names": json.dumps({"text": "un", "a\x1b[31m\n": "x", "n" * 10_000: "y", "label": "z"}),
    "nested": '{"text": ' + "[" * 200_000 + "]" * 200_000 + ', "label": "a"}',
    "keys": json.dumps({f"k{n}": "v" for n in range(20_000)}),
    "empty": "",
    "binary": "\x00\x01",
    "list": "[1, 2]",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_a_draft_of_any_content_is_short_and_can_be_shown(tmp_path: Path, name: str, ending: str) -> None:
    write_text(tmp_path / f"fr{ending}", HOSTILE[name])
    lines = draft_task(tmp_path).splitlines()
    assert len(lines) <= MOST_LINES
    assert all(line.isprintable() and len(line) < 400 for line in lines)


def test_only_the_start_of_a_file_is_read_for_the_guesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_heads, "HEAD_BYTES", 100)
    write_text(tmp_path / "fr.csv", QUIZ + "é" * 1000)
    assert drafted(tmp_path)["candidates"] == ["A", "B", "C"]
    write_text(tmp_path / "fr.csv", "é" * 1000)
    assert "first line" in draft_task(tmp_path)


def test_names_that_a_pattern_cannot_have_are_left_out(tmp_path: Path) -> None:
    write_text(tmp_path / "{x}.csv", QUIZ)
    write_text(tmp_path / "notes.txt", "x")
    assert draft_task(tmp_path).startswith("# no table")
    assert len(draft_task(tmp_path / "notes.txt").splitlines()) == 1


def test_a_file_alone_is_drafted_too(tmp_path: Path) -> None:
    write_text(tmp_path / "fr.test.csv", QUIZ)
    draft = drafted(tmp_path / "fr.test.csv")
    assert (draft["files"], draft["evaluation"]["languages"]) == ("{language}.{split}.csv", ["fr"])
    assert is_read(draft, 2)


def test_a_draft_never_has_the_name_of_a_built_in_task(tmp_path: Path) -> None:
    write_text(tmp_path / "xnli/fr.csv", QUIZ)
    assert drafted(tmp_path / "xnli")["name"] == "my_xnli"
    write_text(tmp_path / "2024 data/fr.csv", QUIZ)
    assert drafted(tmp_path / "2024 data")["name"] == "own_task"
