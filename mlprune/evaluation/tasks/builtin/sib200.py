"""SIB-200: topics of the sentences of FLORES-200 (Adelani et al. 2024, arXiv:2309.07445)."""

from collections.abc import Iterator, Mapping, Sequence

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import LABEL_METRICS, Task

TOPICS: Mapping[str, str] = {
    "science/technology": "science and technology",
    "travel": "travel",
    "politics": "politics",
    "sports": "sports",
    "health": "health",
    "entertainment": "entertainment",
    "geography": "geography",
}
"""Topic in the files -> its words in the template."""
CODE = r"(?P<language>[a-z]{3}_[A-Z][a-z]{3})"
"""Code of a language in FLORES-200; the folder `eng` has the English annotations once more."""
HEADER = ["index_id", "category", "text"]
SPLITS = {"train": "train", "dev": "dev", "test": "test"}


def sib200() -> Task:
    """Topics of sentences."""
    return Task(
        "sib200",
        LABEL_METRICS,
        ("text", "category"),
        sib200_item,
        prompt_language="en",
        texts=("text",),
        citation="Adelani et al. 2024, arXiv:2309.07445",
        layouts=(layout.TaskLayout("sib200", ("sib200",), "data/annotated/fra_Latn/test.tsv", _find, _read),),
    )


def sib200_item(example_id: str, row: Row) -> ChoiceItem:
    """`{text} The topic is {topic}`, with seven topics."""
    text, topic = text_of(row, "text").strip(), row["category"]
    if topic not in TOPICS:
        raise TaskFileError("unknown topic", key="category", expected=list(TOPICS), got=topic)
    gold = list(TOPICS).index(str(topic))
    return choice_item(
        example_id, tuple(TOPICS), context=f"{text} The topic is ", parts=list(TOPICS.values()), gold=gold
    )


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    for file in layout.files_named(tree, rf"{CODE}/(?P<split>train|dev|test)\.tsv", splits=SPLITS):
        if layout.first_cells(tree.file(file.name)) == [HEADER]:
            yield file


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read a table; `index_id`, the number of the sentence in FLORES-200, is its id in all languages."""
    table = layout.tab_separated(tree.file(file.name))[1:]
    rows = (layout.cells(values, len(HEADER), line=line) for line, values in enumerate(table, start=2))
    return [{"id": number, "category": topic, "text": text} for number, topic, text in rows]
