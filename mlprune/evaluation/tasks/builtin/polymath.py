r"""PolyMath: problems of four levels in 18 languages, with answers in LaTeX (Wang et al. 2025, arXiv:2504.18428).

Files: `fr/top.parquet`; the levels top, high, medium and low are splits. A problem is the same by its row. Answers are
compared as numbers or as texts, not by their value: `$\frac{1}{2}$` and `0.5` differ.
"""

from collections.abc import Iterator, Sequence

from mlprune.corpus.parquet_files import read_parquet
from mlprune.descriptions import AnswerRule, HubSet
from mlprune.evaluation.tasks.items import Row, TranslationItem, answers_of, generated_item, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import Task

LEVELS = ("top", "high", "medium", "low")
INSTRUCTION = r"Note: Please put the final answer in the $\boxed{}$."
"""English instruction of the published code."""


def polymath() -> Task:
    """Problems of mathematics."""
    return Task(
        "polymath",
        ("exact_match",),
        ("question", "answer"),
        polymath_item,
        prompt_language="en",
        citation="Wang et al. 2025, arXiv:2504.18428",
        generates=AnswerRule(extract="boxed", stop=(), max_new_tokens=1024),
        dataset=HubSet(
            name="Qwen/PolyMath",
            files=("{config}/{split}.parquet",),
            splits=tuple((level, level) for level in LEVELS),
        ),
        layouts=(layout.TaskLayout("polymath", ("polymath",), "fr/top.parquet", _find, _read),),
    )


def polymath_item(example_id: str, row: Row) -> TranslationItem:
    """The problem, and the instruction on the next line."""
    question = text_of(row, "question").strip()
    return generated_item(example_id, f"{question}\n{INSTRUCTION}", answers_of(row, "answer"))


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    pattern = rf"{layout.LANGUAGE}/(?P<split>{'|'.join(LEVELS)})\.parquet"
    for file in layout.files_named(tree, pattern, splits={level: level for level in LEVELS}):
        if set(layout.first_columns(tree.file(file.name))) >= {"id", "question", "answer"}:
            yield file


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    return [{**row, "id": number} for number, row in enumerate(read_parquet(tree.file(file.name)))]
