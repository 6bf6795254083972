"""MasakhaNEWS: topics of news in African languages, English and French (Adelani et al. 2023, arXiv:2304.09972)."""

from collections.abc import Iterator, Sequence

from mlprune.descriptions import HubSet
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.builtin.african import AFRICAN_CODES
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.tables import table_rows
from mlprune.evaluation.tasks.task import LABEL_METRICS, Task

NEWS_WORDS = 128
"""Whitespace-separated words of an article that are kept."""
TOPICS = ("business", "entertainment", "health", "politics", "religion", "sports", "technology")
"""Topics of all languages; most languages have six or fewer of them."""
HEADER = ["category", "headline", "text", "url"]
SPLITS = {"train": "train", "dev": "dev", "test": "test"}


def masakhanews() -> Task:
    """Topics of news."""
    return Task(
        "masakhanews",
        LABEL_METRICS,
        ("headline", "text", "category"),
        masakhanews_item,
        prompt_language="en",
        texts=("headline", "text"),
        most_words=NEWS_WORDS,
        citation="Adelani et al. 2023, arXiv:2304.09972",
        dataset=HubSet(
            name="masakhane/masakhanews",
            files=("data/{config}/{split}.tsv",),
            splits=(("dev", "dev"), ("test", "test")),
            configs=AFRICAN_CODES,
            aligned=False,
        ),
        layouts=(layout.TaskLayout("masakhanews", ("masakhanews",), "data/hau/test.tsv", _find, _read),),
    )


def masakhanews_item(example_id: str, row: Row) -> ChoiceItem:
    """`{headline} {first words of the text} The topic is {topic}`, with the seven topics.

    The text can be missing, the headline cannot. The paper has no template for models without instructions.
    """
    texts = [text_of(row, "headline"), str(row["text"] or "")]
    words = " ".join(word for text in texts for word in text.split()[:NEWS_WORDS])
    topic = row["category"]
    if topic not in TOPICS:
        raise TaskFileError("unknown topic", key="category", expected=TOPICS, got=topic)
    return choice_item(
        example_id, TOPICS, context=f"{words} The topic is ", parts=TOPICS, gold=TOPICS.index(str(topic))
    )


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    pattern = r"(?P<language>[a-z]{3})/(?P<split>train|dev|test)\.tsv"
    for file in layout.files_named(tree, pattern, splits=SPLITS, are_codes=True):
        if layout.first_cells(tree.file(file.name)) == [HEADER]:
            yield file


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read a table; every language has its own articles, so ids contain the language."""
    rows = enumerate(table_rows(tree.file(file.name)))
    return [{**row, "id": f"{file.language}:{number}"} for number, row in rows]
