"""XQuAD: questions about a paragraph whose answers are spans of it (Artetxe et al. 2019, arXiv:1910.11856).

`xquad` lets the model write the answer. `xquad_spans` is a choice: the candidates of a question are the different
answers of its paragraph. The paper extracts the span instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mlprune.corpus.parquet_files import read_parquet
from mlprune.corpus.text_files import read_text
from mlprune.descriptions import AnswerRule
from mlprune.errors import CorpusError, TaskFileError
from mlprune.evaluation.tasks.items import (
    CLUSTER,
    ChoiceItem,
    Row,
    TranslationItem,
    answers_of,
    choice_item,
    generated_item,
    index_of,
    text_of,
    texts_of,
)
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.tables import squad_questions
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task
from mlprune.json_values import JsonObject, JsonValue, as_list, as_object, as_str, parse_json

COLUMNS = {"id", "context", "question", "answers"}
"""Columns of the hub's Parquet files."""


class Question(NamedTuple):
    """One question."""

    example_id: str
    context: str
    question: str
    answer: str


def xquad_spans() -> Task:
    """Spans that answer a question."""
    return Task(
        "xquad_spans",
        CHOICE_METRICS,
        ("context", "question", "candidates", "answer"),
        xquad_item,
        ties="shared",
        texts=("context", "question", "candidates"),
        answer="answer",
        citation="Artetxe et al. 2019, arXiv:1910.11856",
        layouts=(
            layout.TaskLayout(
                "xquad",
                ("xquad_spans",),
                "xquad.es.json, or xquad.es/validation-00000-of-00001.parquet",
                _find,
                _read,
            ),
        ),
    )


def xquad() -> Task:
    """Generated answers to the same questions."""
    return Task(
        "xquad",
        ("exact_match", "token_f1"),
        ("context", "question", "answer"),
        xquad_question,
        prompt_language="en",
        citation="Artetxe et al. 2019, arXiv:1910.11856",
        generates=AnswerRule(max_new_tokens=32),
        layouts=(
            layout.TaskLayout(
                "xquad_questions", ("xquad",), "xquad.es.json, as xquad", _find, _questions, is_other_reading=True
            ),
        ),
    )


def xquad_item(example_id: str, row: Row) -> ChoiceItem:
    """`{context} {question} {candidate}` with each of the candidates."""
    context, question = (text_of(row, key).strip() for key in ("context", "question"))
    candidates = texts_of(row, "candidates")
    gold = index_of(row, "answer", candidates)
    return choice_item(example_id, candidates, context=f"{context} {question} ", parts=candidates, gold=gold)


def xquad_question(example_id: str, row: Row) -> TranslationItem:
    """The paragraph after `Context:`, the question after `Question:`, and `Answer:`, with empty lines between them."""
    context, question = (text_of(row, key).strip() for key in ("context", "question"))
    prompt = f"Context: {context}\n\nQuestion: {question}\n\nAnswer:"
    return generated_item(example_id, prompt, answers_of(row, "answer"))


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    yield from layout.files_named(tree, rf"xquad\.{layout.LANGUAGE}\.json", splits={})
    for file in layout.files_named(tree, rf"xquad\.{layout.LANGUAGE}/validation-00000-of-00001\.parquet", splits={}):
        if set(layout.first_columns(tree.file(file.name))) >= COLUMNS:
            yield file


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    rows = _questions(tree, file)
    choices = (row if len(texts_of(row, "candidates")) > 1 else None for row in rows)
    return layout.marked_skipped(choices, what="a paragraph with one answer")


def _questions(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Return the row of each question."""
    path = tree.file(file.name)
    try:
        if path.suffix == ".parquet":
            questions = [_of_row(row) for row in read_parquet(path)]
        else:
            articles = as_list(as_object(parse_json(read_text(path)))["data"])
            questions = [_of_question(question) for question in squad_questions(articles, file=str(path))]
    except (KeyError, IndexError, TypeError, ValueError) as err:
        raise CorpusError("a file is not in the format of SQuAD", file=str(path), reason=repr(err)) from err
    return list(_rows(questions))


def _of_row(row: Mapping[str, JsonValue]) -> Question:
    texts = as_list(as_object(row["answers"])["text"])
    return Question(as_str(row["id"]), as_str(row["context"]), as_str(row["question"]), as_str(texts[0]))


def _of_question(question: JsonObject) -> Question:
    """Return a question of SQuAD 1.1, of which the first answer is read."""
    answer = as_object(as_list(question["answers"])[0])
    texts = {key: as_str(question[key]) for key in ("context", "question")}
    return Question(as_str(question["id"]), **texts, answer=as_str(answer["text"]))


def _rows(questions: Sequence[Question]) -> Iterator[Row]:
    """Yield the row of each question.

    Candidates are in the order of their first questions, which is that of all languages. A paragraph is a cluster,
    named by its first question.
    """
    answers: dict[str, dict[str, None]] = {}
    names: dict[str, str] = {}
    for question in questions:
        if not question.answer.strip():
            raise TaskFileError("an empty answer", example=question.example_id, expected="a text", got=question.answer)
        answers.setdefault(question.context, {})[question.answer.strip()] = None
        names.setdefault(question.context, question.example_id)
    for example_id, context, text, answer in questions:
        candidates = list(answers[context])
        row = {"id": example_id, "context": context, "question": text, "candidates": candidates}
        yield {**row, "answer": answer.strip(), CLUSTER: names[context]}
