"""MGSM: 250 school problems in eleven languages, answered step by step (Shi et al. 2022, arXiv:2210.03057).

Files: `mgsm_fr.tsv`, whose lines have a problem and a number, and `exemplars.py` with eight solved problems per
language, which are the split train. That file is parsed as text and never run.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mlprune.corpus.text_files import read_text
from mlprune.descriptions import CONVERTED, AnswerRule, HubSet
from mlprune.errors import CorpusError, TaskFileError
from mlprune.evaluation.tasks.items import Row, TranslationItem, answers_of, generated_item, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import Task
from mlprune.vocabulary import COMPRESSIONS

EXEMPLAR_FILES = tuple(f"exemplars.py{ending}" for ending in COMPRESSIONS)
EXEMPLARS = "MGSM_EXEMPLARS"
"""Variable of the file with solved problems: language -> number -> `q` and `a`."""


class Words(NamedTuple):
    """Words before a problem and before its solution."""

    question: str
    answer: str


WORDS: Mapping[str, Words] = {
    "bn": Words("প্রশ্ন: ", "ধাপে ধাপে উত্তর:"),
    "de": Words("Frage: ", "Schritt-für-Schritt-Antwort:"),
    "en": Words("Question: ", "Step-by-Step Answer:"),
    "es": Words("Pregunta: ", "Respuesta paso a paso:"),
    "fr": Words("Question : ", "Réponse étape par étape :"),
    "ja": Words("問題：", "ステップごとの答え："),
    "ru": Words("Задача: ", "Пошаговое решение:"),
    "sw": Words("Swali: ", "Jibu la Hatua kwa Hatua:"),
    "te": Words("ప్రశ్న: ", "దశలవారీగా సమాధానం:"),
    "th": Words("โจทย์: ", "คำตอบทีละขั้นตอน:"),
    "zh": Words("问题：", "逐步解答："),
}
"""Words of the published solved problems."""


def mgsm() -> Task:
    """Word problems whose answer is a number."""
    return Task(
        "mgsm",
        ("exact_match",),
        ("question", "answer"),
        mgsm_item,
        prompt_language="en",
        native=WORDS,
        citation="Shi et al. 2022, arXiv:2210.03057",
        generates=AnswerRule(
            extract="number", stop=tuple(f"\n{words.question.strip()}" for words in WORDS.values()), max_new_tokens=256
        ),
        dataset=HubSet(
            name="juletxara/mgsm",
            files=("{config}/{split}/0000.parquet",),
            revision=CONVERTED,
            splits=(("test", "test"),),
            columns=(("answer", "answer_number"),),
        ),
        layouts=(
            layout.TaskLayout("mgsm", ("mgsm",), "mgsm_fr.tsv, and exemplars.py for the split train", _find, _read),
        ),
    )


def mgsm_item(example_id: str, row: Row, words: Words = WORDS["en"]) -> TranslationItem:
    """`Question: {problem}`, and on the next line `Step-by-Step Answer:`, in English or in the language.

    The words that a solved problem begins with are replaced by these.
    """
    question = text_of(row, "question").strip()
    for other in WORDS.values():
        question = question.removeprefix(other.question)
    return generated_item(example_id, f"{words.question}{question}\n{words.answer}", answers_of(row, "answer"))


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    for file in layout.files_named(tree, rf"mgsm_{layout.LANGUAGE}\.tsv", splits={}):
        if any(len(cells) == 2 for cells in layout.first_cells(tree.file(file.name))):
            yield file
    for name in tree.names:
        if name.rpartition("/")[2] in EXEMPLAR_FILES:
            yield from (layout.TaskFile(name, language, "train") for language in _exemplars(tree, name))


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    if file.split == "train":
        solved = _exemplars(tree, file.name)[file.language]
        texts = enumerate(solved.values())
        return [{"id": number, "question": text["q"], "answer": _solution(text["a"])} for number, text in texts]
    rows = [layout.cells(row, 2, line=line) for line, row in enumerate(layout.tab_separated(tree.file(file.name)), 1)]
    return [{"id": number, "question": row[0], "answer": row[1].strip()} for number, row in enumerate(rows)]


def _exemplars(tree: layout.FileTree, name: str) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Return the solved problems of a file; nothing if it has none.

    Raises:
        TaskFileError: they are not literals of texts.
    """
    try:
        statements = ast.parse(read_text(tree.file(name))).body
    except (CorpusError, SyntaxError, ValueError, RecursionError):
        return {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == EXEMPLARS:
            try:
                value: Mapping[str, Mapping[str, Mapping[str, str]]] = ast.literal_eval(statement.value)
            except ValueError as err:
                raise TaskFileError(f"{EXEMPLARS} is not a literal", file=name, reason=str(err)) from err
            return value
    return {}


def _solution(text: str) -> str:
    """Return a solution without the words before it."""
    for words in WORDS.values():
        text = text.removeprefix(words.answer)
    return text.strip()
