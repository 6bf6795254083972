"""Multilingual HellaSwag: choice of the ending of a description (Lai et al. 2023, arXiv:2307.16039).

Machine translation of HellaSwag (Zellers et al. 2019, arXiv:1905.07830) into 31 languages. Files: `data/fr/val.jsonl`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from mlprune.corpus.text_files import read_json_lines
from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks.answers import answer_index
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, Row, choice_item, stated_name, text_of, texts_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

KEYS = ("activity_label", "ctx_a", "ctx_b", "endings", "label")
SPLITS = {"train": "train", "val": "dev", "test": "test"}
BRACKETS = re.compile(r"\[.*?\]")
"""Marks that the descriptions from WikiHow have, such as `[header]`."""


def m_hellaswag() -> Task:
    """Endings of descriptions."""
    return Task(
        "m_hellaswag",
        CHOICE_METRICS,
        KEYS,
        m_hellaswag_item,
        ties="shared",
        texts=("activity_label", "ctx_a", "ctx_b", "endings"),
        groups=m_hellaswag_groups,
        citation="Lai et al. 2023, arXiv:2307.16039",
        dataset=HubSet(
            name="alexandrainst/m_hellaswag",
            files=("data/{config}/{split}.jsonl",),
            splits=(("dev", "val"), ("test", "test")),
            id=("id",),
        ),
        layouts=(layout.TaskLayout("m_hellaswag", ("m_hellaswag",), "data/fr/val.jsonl", _find, _read),),
    )


def m_hellaswag_item(example_id: str, row: Row) -> ChoiceItem:
    """`{activity}: {context} {ending}` with each ending, as the published code and lm-evaluation-harness build it.

    Marks in brackets are removed; `[title]` becomes a full stop.
    """
    context = f"{text_of(row, 'ctx_a')} {str(row['ctx_b'] or '').capitalize()}"
    query = _plain(f"{text_of(row, 'activity_label')}: {context}")
    endings = [_plain(ending) for ending in texts_of(row, "endings")]
    gold = answer_index(row, "label", endings, kind="number")
    return choice_item(example_id, endings, context=f"{query} ", parts=endings, gold=gold)


def _plain(text: str) -> str:
    return BRACKETS.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ").strip()


def m_hellaswag_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The descriptions of one video or article are a cluster; the category is its source, such as `wikihow`."""
    names = [stated_name(row, "source_id") for row in rows]
    return [ItemGroup(name, name.partition("~")[0]) for name in names]


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    pattern = rf"{layout.LANGUAGE}/(?P<split>train|val|test)\.jsonl"
    for file in layout.files_named(tree, pattern, splits=SPLITS):
        if set(KEYS) <= set(layout.first_object(tree.file(file.name))):
            yield file


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read the rows. The id is that of the English example. Some rows have endings in two languages."""
    rows = read_json_lines(tree.file(file.name))
    return [
        {**row, "id": row.get("id", row.get("ind")), "endings": _in_language(row.get("endings"), file.language)}
        for row in rows
    ]


def _in_language(endings: object, language: str) -> object:
    if not isinstance(endings, list):
        return endings
    return [ending.get(language) if isinstance(ending, Mapping) else ending for ending in endings]
