"""Belebele: reading comprehension with four answers (Bandarkar et al. 2023, arXiv:2308.16884).

Files: `Belebele/fra_Latn.jsonl`, one file per language; a question is the same by its link and number.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from mlprune.corpus.text_files import read_json_lines
from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks.items import (
    ChoiceItem,
    ItemGroup,
    Row,
    choice_item,
    one_based_index,
    stated_name,
    text_of,
)
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

ANSWER_KEYS = tuple(f"mc_answer{number}" for number in range(1, 5))
TEXT_KEYS = ("flores_passage", "question", *ANSWER_KEYS)
KEYS = (*TEXT_KEYS, "correct_answer_num")


def belebele() -> Task:
    """Questions on a passage."""
    return Task(
        "belebele",
        CHOICE_METRICS,
        KEYS,
        belebele_item,
        texts=TEXT_KEYS,
        groups=belebele_groups,
        citation="Bandarkar et al. 2023, arXiv:2308.16884",
        dataset=HubSet(
            name="facebook/belebele",
            files=("data/{config}.jsonl",),
            splits=(("test", "test"),),
            id=("link", "question_number"),
        ),
        layouts=(layout.TaskLayout("belebele", ("belebele",), "Belebele/fra_Latn.jsonl", _find, _read),),
    )


def belebele_item(example_id: str, row: Row) -> ChoiceItem:
    """`{passage} {question} {answer}` with each of four answers (Bandarkar et al., arXiv:2308.16884).

    The answers themselves are scored instead of the letters A to D, which small models cannot resolve.
    """
    passage, question = (text_of(row, key).strip() for key in ("flores_passage", "question"))
    answers = [text_of(row, key).strip() for key in ANSWER_KEYS]
    gold = one_based_index(row, "correct_answer_num", len(answers))
    return choice_item(example_id, answers, context=f"{passage} {question} ", parts=answers, gold=gold)


def belebele_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The questions on a page are a cluster, named by its `link`; the category is the site, such as `wikinews.org`."""
    links = [stated_name(row, "link") for row in rows]
    return [ItemGroup(link, _site(link)) for link in links]


def _site(link: str) -> str:
    """Return the last two names of the host of a link; empty if it has no host."""
    try:
        return ".".join((urlsplit(link).hostname or "").split(".")[-2:])
    except ValueError:
        return ""


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    for file in layout.files_named(tree, rf"{layout.LANGUAGE}\.jsonl", splits={}):
        if set(layout.first_object(tree.file(file.name))) >= {"link", "question_number", *KEYS}:
            yield file


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    rows = read_json_lines(tree.file(file.name))
    return [{**row, "id": f"{row.get('link')}#{row.get('question_number')}"} for row in rows]
