"""Global-MMLU and INCLUDE: exam questions with four options.

Global-MMLU translates MMLU into 42 languages (Singh et al. 2024, arXiv:2412.03304); INCLUDE collects exams of the
languages' own regions (Romanou et al. 2024, arXiv:2411.19799). Both are published as Parquet files with the same keys.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from mlprune.corpus.text_files import read_parquet
from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks.items import (
    ChoiceItem,
    ItemGroup,
    Row,
    choice_item,
    is_text,
    number_of,
    stated_name,
    text_of,
)
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

OPTION_KEYS = tuple(f"option_{letter}" for letter in "abcd")
KEYS = ("question", *OPTION_KEYS, "answer")
LETTERS = ("A", "B", "C", "D")
FILE = r"-00000-of-00001\.parquet"
"""End of the name of a file; one language and split is one file."""
INCLUDE_LANGUAGES = """
Albanian sq,Arabic ar,Armenian hy,Azerbaijani az,Basque eu,Belarusian be,Bengali bn,Bulgarian bg,Chinese zh,Croatian hr,
Dutch nl,Estonian et,Finnish fi,French fr,Georgian ka,German de,Greek el,Hebrew he,Hindi hi,Hungarian hu,Indonesian id,
Italian it,Japanese ja,Kazakh kk,Korean ko,Lithuanian lt,Malay ms,Malayalam ml,Nepali ne,North Macedonian mk,Persian fa,
Polish pl,Portuguese pt,Russian ru,Serbian sr,Spanish es,Tagalog tl,Tamil ta,Telugu te,Turkish tr,Ukrainian uk,Urdu ur,
Uzbek uz,Vietnamese vi
"""
"""Names of INCLUDE's 44 languages with their tags."""
INCLUDE_TAGS: Mapping[str, str] = {
    name: tag for name, _, tag in (pair.strip().rpartition(" ") for pair in INCLUDE_LANGUAGES.split(","))
}
"""Name of a language in INCLUDE -> tag."""


def question_item(example_id: str, row: Row) -> ChoiceItem:
    """`{question} {option}` with each of four options.

    The options themselves are scored instead of their letters, which small models cannot resolve. `answer` is a letter,
    or an index from 0.
    """
    question = text_of(row, "question").strip()
    options = [text_of(row, key).strip() for key in OPTION_KEYS]
    answer = row["answer"]
    is_letter = isinstance(answer, str) and answer in LETTERS
    gold = LETTERS.index(answer) if is_letter else number_of(row, "answer", range(len(options)))
    return choice_item(example_id, options, context=f"{question} ", parts=options, gold=gold)


def mmlu_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The category is the group of subjects, such as `Humanities`."""
    return [ItemGroup(category=stated_name(row, "subject_category")) for row in rows]


def include_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The category is the domain, such as `Driving License`."""
    return [ItemGroup(category=stated_name(row, "domain")) for row in rows]


def _find(tree: layout.FileTree, pattern: str, *, splits: Mapping[str, str], column: str) -> Iterator[layout.TaskFile]:
    """Yield the files of a data set, which alone has a column in addition to the keys."""
    for file in layout.files_named(tree, pattern, splits=splits):
        if {*KEYS, column} <= set(layout.first_columns(tree.file(file.name))):
            yield file


def _complete(rows: Iterable[Row]) -> Sequence[Row]:
    """Return the rows that have a question and all options."""
    complete = (row if all(is_text(row[key]) for key in KEYS[:-1]) else None for row in rows)
    return layout.marked_skipped(complete, what="an empty question or option")


def _find_mmlu(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    pattern = rf"{layout.LANGUAGE}/(?P<split>dev|test){FILE}"
    return _find(tree, pattern, splits={"dev": "dev", "test": "test"}, column="sample_id")


def _read_mmlu(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    rows = read_parquet(tree.file(file.name))
    return _complete({**row, "id": row["sample_id"]} for row in rows)


def _find_include(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    pattern = rf"(?P<language>{'|'.join(INCLUDE_TAGS)})/(?P<split>test|validation){FILE}"
    for file in _find(tree, pattern, splits={"test": "test", "validation": "dev"}, column="regional_feature"):
        yield replace(file, language=INCLUDE_TAGS[file.name.split("/")[-2]])


def _read_include(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read the rows; every language has its own questions, so ids contain the language."""
    rows = enumerate(read_parquet(tree.file(file.name)))
    return _complete(({**row, "id": f"{file.language}:{number}"} for number, row in rows))


GLOBAL_MMLU = Task(
    "global_mmlu",
    CHOICE_METRICS,
    KEYS,
    question_item,
    ties="shared",
    texts=KEYS[:-1],
    groups=mmlu_groups,
    citation="Singh et al. 2024, arXiv:2412.03304",
    dataset=HubSet(
        name="CohereLabs/Global-MMLU",
        files=("{config}/{split}-*.parquet",),
        splits=(("dev", "dev"), ("test", "test")),
        id=("sample_id",),
        skips_incomplete=True,
    ),
    layouts=(
        layout.TaskLayout("global_mmlu", ("global_mmlu",), "fr/test-00000-of-00001.parquet", _find_mmlu, _read_mmlu),
    ),
)
INCLUDE = Task(
    "include",
    CHOICE_METRICS,
    KEYS,
    question_item,
    ties="shared",
    texts=KEYS[:-1],
    groups=include_groups,
    citation="Romanou et al. 2024, arXiv:2411.19799",
    dataset=HubSet(
        name="CohereLabs/include-base-44",
        files=("{config}/{split}-*.parquet",),
        configs=tuple((tag, name) for name, tag in INCLUDE_TAGS.items()),
        aligned=False,
    ),
    layouts=(
        layout.TaskLayout("include", ("include",), "French/test-00000-of-00001.parquet", _find_include, _read_include),
    ),
)
