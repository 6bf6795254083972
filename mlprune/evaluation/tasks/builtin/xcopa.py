"""XCOPA: choice of the more plausible cause or effect (Ponti et al. 2020, arXiv:2005.00333).

Files: `data/sw/val.sw.jsonl` and `data/sw/test.sw.jsonl` of its repository. The folder `data-gmt` is
left out: it has machine translations into English. English itself is COPA, which is not in the repository.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlprune.corpus.text_files import read_json_lines
from mlprune.descriptions import HubSet
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, Row, choice_item, number_of, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

TEXT_KEYS = ("premise", "choice1", "choice2")
KEYS = (*TEXT_KEYS, "question", "label")
SPLITS = {"train": "train", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class XcopaWords:
    """The words between a premise and a choice."""

    cause: str
    """Word before a cause of the premise."""
    effect: str
    """Word before an effect of the premise."""


XCOPA_WORDS: Mapping[str, XcopaWords] = {
    "en": XcopaWords("because", "so"),
    "et": XcopaWords("sest", "seetõttu"),
    "id": XcopaWords("karena", "maka"),
    "it": XcopaWords("perché", "quindi"),
    "sw": XcopaWords("kwa sababu", "kwa hiyo"),
    "th": XcopaWords("เพราะ", "ดังนั้น"),
    "tr": XcopaWords("çünkü", "bu yüzden"),
    "vi": XcopaWords("bởi vì", "vì vậy"),
    "zh": XcopaWords("因为", "所以"),
}
"""English and XCOPA's languages (Ponti et al., arXiv:2005.00333) except Haitian Creole, Quechua and Tamil."""


def xcopa() -> Task:
    """Cause or effect of a premise."""
    return Task(
        "xcopa",
        CHOICE_METRICS,
        KEYS,
        xcopa_item,
        prompt_language="en",
        texts=TEXT_KEYS,
        native=XCOPA_WORDS,
        groups=xcopa_groups,
        citation="Ponti et al. 2020, arXiv:2005.00333",
        dataset=HubSet(name="cambridgeltl/xcopa", files=("{config}/{split}-*.parquet",), id=("idx",)),
        layouts=(layout.TaskLayout("xcopa", ("xcopa",), "data/sw/val.sw.jsonl, data/sw/test.sw.jsonl", _find, _read),),
    )


def xcopa_item(example_id: str, row: Row, *, words: XcopaWords = XCOPA_WORDS["en"]) -> ChoiceItem:
    """`{premise} {because|so} {choice}`: the premise without its full stop, the choice with a lower-case first letter.

    The paper has no such template.
    """
    premise = text_of(row, "premise").strip().rstrip(".。।!！?？ ")
    question = row["question"]
    if question not in ("cause", "effect"):
        raise TaskFileError("unknown question", key="question", expected=("cause", "effect"), got=question)
    choices = (text_of(row, "choice1"), text_of(row, "choice2"))
    parts = [text.strip()[0].lower() + text.strip()[1:] for text in choices]
    context = f"{premise} {getattr(words, question)} "
    return choice_item(example_id, choices, context=context, parts=parts, gold=number_of(row, "label", range(2)))


def xcopa_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The category is the question: cause or effect."""
    return [ItemGroup(category=str(row["question"])) for row in rows]


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    for file in layout.files_named(tree, rf"(?P<split>train|val|test)\.{layout.LANGUAGE}\.jsonl", splits=SPLITS):
        if "data-gmt" not in file.name.split("/") and set(layout.first_object(tree.file(file.name))) >= {*KEYS, "idx"}:
            yield file


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    return [{**row, "id": row.get("idx")} for row in read_json_lines(tree.file(file.name))]
