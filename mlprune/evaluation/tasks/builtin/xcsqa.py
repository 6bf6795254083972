"""X-CSQA: questions of common sense with five options in 16 languages (Lin et al. 2021, arXiv:2106.06937).

Files: `X-CSQA/fr/dev.jsonl`, or `X-CSQA-fr/validation-00000-of-00001.parquet` on the hub, where the options are two
lists instead of a list of objects. The answers of the test split are not published.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlprune.corpus.parquet_files import first_parquet_rows, read_parquet
from mlprune.corpus.text_files import read_json_lines
from mlprune.descriptions import HubSet
from mlprune.errors import CorpusError, TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, text_of, texts_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

KEYS = ("question", "answerKey")
SPLITS: Mapping[str, str] = {"dev": "dev", "validation": "dev", "test": "test"}
TAGS: Mapping[str, str] = {"jap": "ja"}
"""Codes of the publisher that are not tags."""


def xcsqa() -> Task:
    """Questions of common sense."""
    return Task(
        "xcsqa",
        CHOICE_METRICS,
        KEYS,
        xcsqa_item,
        ties="shared",
        citation="Lin et al. 2021, arXiv:2106.06937",
        dataset=HubSet(
            name="INK-USC/xcsr",
            files=("X-CSQA-{config}/{split}-*.parquet",),
            configs=(("ja", "jap"),),
            id=("id",),
        ),
        layouts=(layout.TaskLayout("xcsqa", ("xcsqa",), "X-CSQA/fr/dev.jsonl", _find, _read),),
    )


def xcsqa_item(example_id: str, row: Row) -> ChoiceItem:
    """`{stem} {option}` with each of the options.

    The options themselves are scored instead of their letters, which small models cannot resolve.
    """
    stem, labels, options = _parts(row)
    if not row["answerKey"]:
        expected = f"one of {labels}; the answers of the test split are not published: use dev"
        raise TaskFileError("a question without its answer", key="answerKey", expected=expected, got=row["answerKey"])
    if row["answerKey"] not in labels:
        raise TaskFileError("wrong answerKey", key="answerKey", expected=labels, got=row["answerKey"])
    gold = labels.index(str(row["answerKey"]))
    return choice_item(example_id, options, context=f"{stem} ", parts=options, gold=gold)


def _parts(row: Row) -> tuple[str, list[str], list[str]]:
    """Return the question, the letters of its options, and the options."""
    question = row["question"]
    choices = question.get("choices") if isinstance(question, Mapping) else None
    if isinstance(choices, list) and all(isinstance(each, Mapping) for each in choices):
        choices = {key: [each.get(key) for each in choices] for key in ("label", "text")}
    if not isinstance(question, Mapping) or not isinstance(choices, Mapping):
        expected = "an object with stem and choices"
        raise TaskFileError("wrong question", key="question", expected=expected, got=question)
    fields = {"stem": question.get("stem"), "label": choices.get("label"), "text": choices.get("text")}
    labels, options = texts_of(fields, "label"), texts_of(fields, "text")
    if len(labels) != len(options) or len(options) < 2:
        raise TaskFileError("wrong choices", key="choices", expected="as many labels as texts", got=choices)
    return text_of(fields, "stem").strip(), labels, [option.strip() for option in options]


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield the files whose first row has an answer."""
    code = r"(?P<language>[a-z]{2,3})"
    patterns = (
        rf"X-CSQA/{code}/(?P<split>dev|test)\.jsonl",
        rf"X-CSQA-{code}/(?P<split>validation|test)-00000-of-00001\.parquet",
    )
    for pattern in patterns:
        for file in layout.files_named(tree, pattern, splits=SPLITS):
            row = _first_row(tree, file)
            if set(row) >= {"id", *KEYS} and row["answerKey"]:
                yield replace(file, language=TAGS.get(file.language, file.language))


def _first_row(tree: layout.FileTree, file: layout.TaskFile) -> Row:
    path = tree.file(file.name)
    if not file.name.endswith(".parquet"):
        return layout.first_object(path)
    try:
        return next(iter(first_parquet_rows(path, 1)), {})
    except CorpusError:
        return {}


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    path = tree.file(file.name)
    return read_parquet(path) if file.name.endswith(".parquet") else read_json_lines(path)
