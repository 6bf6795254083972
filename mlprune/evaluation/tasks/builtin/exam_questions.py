"""Exam questions: Global-MMLU, INCLUDE, MMLU-ProX, AfriMMLU and MMMLU.

Global-MMLU translates MMLU into 42 languages (Singh et al. 2024, arXiv:2412.03304); INCLUDE collects exams of the
languages' own regions (Romanou et al. 2024, arXiv:2411.19799). Both have four options and are published as Parquet
files with the same keys. MMLU-ProX translates MMLU-Pro, with up to ten options (Xuan et al. 2025, arXiv:2503.10497);
AfriMMLU translates 500 questions of MMLU (Adelani et al. 2024, arXiv:2406.03368); MMMLU translates all of its test
split into 14 languages (OpenAI 2024).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlprune.corpus.parquet_files import read_parquet
from mlprune.corpus.text_files import read_cells
from mlprune.descriptions import AnswerKind, HubSet
from mlprune.errors import CorpusError
from mlprune.evaluation.tasks.answers import answer_index, listed_texts
from mlprune.evaluation.tasks.builtin.african import AFRICAN_CODES
from mlprune.evaluation.tasks.items import (
    ChoiceItem,
    ItemGroup,
    Row,
    categories,
    choice_item,
    is_text,
    number_of,
    stated_name,
    text_of,
)
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.tables import column_value, table_rows
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

OPTION_KEYS = tuple(f"option_{letter}" for letter in "abcd")
KEYS = ("question", *OPTION_KEYS, "answer")
LETTERS = ("A", "B", "C", "D")
LISTED_KEYS = ("question", "options", "answer")
PROX_OPTIONS = tuple(f"option_{number}" for number in range(10))
"""Columns of the options of MMLU-ProX; the last ones are empty where there are fewer."""
CHOICES = "choices"
"""Column of the options of AfriMMLU, a list in the notation of Python."""
MMMLU_NAMES: Mapping[str, str] = {
    name[:2].lower(): name
    for name in (
        *("AR-XY", "BN-BD", "DE-DE", "ES-LA", "FR-FR", "HI-IN", "ID-ID", "IT-IT", "JA-JP", "KO-KR", "PT-BR", "SW-KE"),
        *("YO-NG", "ZH-CN"),
    )
}
"""Tag -> name of the language in MMMLU, whose regions include some that are not countries."""
MMMLU_COLUMNS: Mapping[str, str] = {
    "question": "Question",
    **dict(zip(OPTION_KEYS, LETTERS, strict=True)),
    "answer": "Answer",
}
"""Key -> column of MMMLU."""
CULTURES: Mapping[str, str] = {"CS": "culturally sensitive", "CA": "culturally agnostic"}
"""Label of a question of Global-MMLU -> its subset."""
NO_CULTURE = ("", "-")
"""Labels of questions that were not annotated."""
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
PROX = HubSet(
    name="li-lab/MMLU-ProX",
    files=("{config}/{split}-*.parquet",),
    columns=(("options", PROX_OPTIONS),),
    id=("question_id",),
)


def mmlu_prox() -> Task:
    """Questions of MMLU-Pro."""
    return Task(
        "mmlu_prox",
        CHOICE_METRICS,
        LISTED_KEYS,
        listed_item,
        ties="shared",
        texts=("question", "options"),
        answer="answer",
        groups=prox_groups,
        citation="Xuan et al. 2025, arXiv:2503.10497",
        dataset=PROX,
        copies=(PROX.model_copy(update={"name": "li-lab/MMLU-ProX-Lite"}),),
        layouts=(
            layout.TaskLayout("mmlu_prox", ("mmlu_prox",), "fr/test-00000-of-00001.parquet", _find_prox, _read_prox),
        ),
    )


def afrimmlu() -> Task:
    """Questions of MMLU in African languages."""
    return Task(
        "afrimmlu",
        CHOICE_METRICS,
        LISTED_KEYS,
        listed_item,
        ties="shared",
        texts=("question", "options"),
        answer="answer",
        groups=african_groups,
        citation="Adelani et al. 2024, arXiv:2406.03368",
        dataset=HubSet(
            name="masakhane/afrimmlu",
            files=("data/{config}/{split}.tsv",),
            splits=(("dev", "dev"), ("val", "val"), ("test", "test")),
            configs=AFRICAN_CODES,
            columns=(("options", (CHOICES,)),),
        ),
        layouts=(layout.TaskLayout("afrimmlu", ("afrimmlu",), "data/hau/test.tsv", _find_african, _read_african),),
    )


def mmmlu() -> Task:
    """Questions of MMLU, translated by OpenAI."""
    return Task(
        "mmmlu",
        CHOICE_METRICS,
        KEYS,
        question_item,
        ties="shared",
        texts=KEYS[:-1],
        groups=mmmlu_groups,
        citation="OpenAI 2024, https://huggingface.co/datasets/openai/MMMLU",
        dataset=HubSet(
            name="openai/MMMLU",
            files=("test/mmlu_{config}.csv",),
            splits=(("test", "test"),),
            configs=tuple(MMMLU_NAMES.items()),
            columns=tuple(MMMLU_COLUMNS.items()),
        ),
        layouts=(layout.TaskLayout("mmmlu", ("mmmlu",), "test/mmlu_FR-FR.csv", _find_mmmlu, _read_mmmlu),),
    )


def global_mmlu() -> Task:
    """Questions of MMLU, translated by Cohere."""
    return Task(
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
            layout.TaskLayout(
                "global_mmlu", ("global_mmlu",), "fr/test-00000-of-00001.parquet", _find_mmlu, _read_mmlu
            ),
        ),
    )


def include() -> Task:
    """Questions of exams in each language."""
    return Task(
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
            layout.TaskLayout(
                "include", ("include",), "French/test-00000-of-00001.parquet", _find_include, _read_include
            ),
        ),
    )


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


def listed_item(example_id: str, row: Row) -> ChoiceItem:
    """`{question} {option}` with each of the options of a list; `answer` is a letter, or an index from 0."""
    question = text_of(row, "question").strip()
    options = [option.strip() for option in listed_texts(row, "options")]
    kind: AnswerKind = "letter" if isinstance(row["answer"], str) else "number"
    gold = answer_index(row, "answer", options, kind=kind)
    return choice_item(example_id, options, context=f"{question} ", parts=options, gold=gold)


def mmlu_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The categories are the group of subjects, such as `Humanities`, and the label of cultural sensitivity.

    The authors annotated a part of the questions, and ask that results on both subsets be reported.
    """
    return [ItemGroup(category=categories(stated_name(row, "subject_category"), _culture(row))) for row in rows]


def _culture(row: Row) -> str:
    """Return the subset of a question in words; empty if it was not annotated."""
    label = stated_name(row, "cultural_sensitivity_label")
    is_annotated = label not in NO_CULTURE and row.get("is_annotated") is not False
    return CULTURES.get(label, label) if is_annotated else ""


def include_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The categories are the domain, such as `Driving License`, and the regional feature, such as `culture`."""
    features = [stated_name(row, "regional_feature") for row in rows]
    return [
        ItemGroup(category=categories(stated_name(row, "domain"), feature and f"regional feature: {feature}"))
        for row, feature in zip(rows, features, strict=True)
    ]


def _find(tree: layout.FileTree, pattern: str, *, splits: Mapping[str, str], column: str) -> Iterator[layout.TaskFile]:
    """Yield the files of a data set, which alone has a column in addition to the keys."""
    for file in layout.files_named(tree, pattern, splits=splits):
        if {*KEYS, column} <= set(layout.first_columns(tree.file(file.name))):
            yield file


def _find_prox(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    pattern = rf"{layout.LANGUAGE}/(?P<split>test|validation){FILE}"
    for file in layout.files_named(tree, pattern, splits={"test": "test", "validation": "dev"}):
        if {"question_id", "question", "answer", *PROX_OPTIONS} <= set(layout.first_columns(tree.file(file.name))):
            yield file


def _read_prox(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    rows = read_parquet(tree.file(file.name))
    return [{**row, "id": row["question_id"], "options": column_value(row, PROX_OPTIONS)} for row in rows]


def prox_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The category is the subject, such as `physics`, in English in all languages."""
    return [ItemGroup(category=stated_name(row, "category")) for row in rows]


def _find_african(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    pattern = r"(?P<language>[a-z]{3})/(?P<split>dev|val|test)\.tsv"
    splits = {"dev": "dev", "val": "val", "test": "test"}
    for file in layout.files_named(tree, pattern, splits=splits, are_codes=True):
        if {"subject", "question", CHOICES, "answer"} <= set(layout.first_keys(tree.file(file.name))):
            yield file


def _read_african(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read a table; rows are in one order in all languages, so an id is the number of a row."""
    rows = enumerate(table_rows(tree.file(file.name)))
    return [{**row, "id": number, "options": column_value(row, (CHOICES,))} for number, row in rows]


def african_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The category is the subject, such as `global_facts`."""
    return [ItemGroup(category=stated_name(row, "subject")) for row in rows]


def _find_mmmlu(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    tags = {name: tag for tag, name in MMMLU_NAMES.items()}
    for file in layout.files_named(tree, rf"mmlu_(?P<language>{'|'.join(tags)})\.csv", splits={}, are_codes=False):
        if {*MMMLU_COLUMNS.values(), "Subject"} <= set(_header(tree.file(file.name))):
            code = file.name.rpartition("mmlu_")[2].partition(".")[0]
            yield replace(file, language=tags[code])


def _header(path: Path) -> Sequence[str]:
    """Return the cells of the first row of a table with commas; none if it cannot be read."""
    try:
        return next((cells for _, cells in read_cells(path, delimiter=",", quoted=True)), [])
    except CorpusError:
        return []


def _read_mmmlu(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read a table; rows are in the order of MMLU in all languages, so an id is the number of a row."""
    rows = enumerate(table_rows(tree.file(file.name)))
    return [{**row, **{key: row[name] for key, name in MMMLU_COLUMNS.items()}, "id": number} for number, row in rows]


def mmmlu_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The category is the subject, such as `abstract_algebra`, in English in all languages."""
    return [ItemGroup(category=stated_name(row, "Subject")) for row in rows]


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
