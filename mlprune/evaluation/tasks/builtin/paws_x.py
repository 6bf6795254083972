"""PAWS-X: paraphrase identification (Yang et al. 2019, arXiv:1908.11828).

Files: `x-final/fr/dev_2k.tsv` with a header, and XTREME's `dev-fr.tsv` without one; `fr_test_2k.tsv` of translations.
Some rows were published without a sentence, with `NS` instead of one, or without a label; they are skipped.
"""

from collections.abc import Iterator, Sequence

from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, number_of, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import LABEL_METRICS, Task

PAWS_X_LABELS = ("No", "Yes")
KEYS = ("sentence1", "sentence2", "label")
HEADER = ["id", *KEYS]
PUBLISHED = rf"{layout.LANGUAGE}[/_](?P<split>dev_2k|test_2k|translated_train|train)\.tsv"
PUBLISHED_SPLITS = {"dev_2k": "dev", "test_2k": "test", "translated_train": "train", "train": "train"}
XTREME = rf"(?P<split>train|dev|test)-{layout.LANGUAGE}\.tsv"
XTREME_SPLITS = {"train": "train", "dev": "dev", "test": "test"}
LABEL_TEXTS = ("0", "1")
MISSING = ("", "NS")


def paws_x() -> Task:
    """Paraphrase or not."""
    return Task(
        "paws_x",
        LABEL_METRICS,
        KEYS,
        paws_x_item,
        prompt_language="en",
        texts=("sentence1", "sentence2"),
        citation="Yang et al. 2019, arXiv:1908.11828",
        dataset=HubSet(
            name="google-research-datasets/paws-x",
            files=("{config}/{split}-*.parquet",),
            id=("id",),
            skips_incomplete=True,
        ),
        layouts=(
            layout.TaskLayout(
                "paws_x", ("paws_x",), "x-final/fr/dev_2k.tsv, test_2k.tsv; dev-fr.tsv (XTREME)", _find, _read
            ),
        ),
    )


def paws_x_item(example_id: str, row: Row) -> ChoiceItem:
    """`{sentence1} right? {No|Yes}, {sentence2}`; label 1 is a paraphrase, hence Yes."""
    first, second = text_of(row, "sentence1"), text_of(row, "sentence2")
    parts = [f"{word}, {second}" for word in PAWS_X_LABELS]
    gold = number_of(row, "label", range(2))
    return choice_item(example_id, ("0", "1"), context=f"{first} right? ", parts=parts, gold=gold)


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    for file in layout.files_named(tree, PUBLISHED, splits=PUBLISHED_SPLITS):
        if _has_header(layout.first_cells(tree.file(file.name))):
            yield file
    for file in layout.files_named(tree, XTREME, splits=XTREME_SPLITS):
        row = (layout.first_cells(tree.file(file.name)) or [[]])[0]
        if len(row) == 3 and row[2].strip('"') in LABEL_TEXTS:
            yield file


def _has_header(table: Sequence[Sequence[str]]) -> bool:
    return bool(table) and list(table[0][: len(HEADER)]) == HEADER


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    table = layout.tab_separated(tree.file(file.name))
    if _has_header(table):
        rows = (_row(layout.cells(values, len(HEADER), line=line)) for line, values in enumerate(table[1:], start=2))
    else:
        rows = (
            _row([str(line - 1), *layout.cells(values, 3, line=line)]) for line, values in enumerate(table, start=1)
        )
    return layout.marked_skipped(rows, what="no sentence or label")


def _row(values: Sequence[str]) -> Row | None:
    number, first, second, label = values
    if label not in LABEL_TEXTS or first.strip() in MISSING or second.strip() in MISSING:
        return None
    return {
        "id": int(number) if number.isdigit() else number,
        "sentence1": first,
        "sentence2": second,
        "label": int(label),
    }
