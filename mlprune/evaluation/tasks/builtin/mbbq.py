"""MBBQ: questions that a stereotype may answer, in English, Spanish, Dutch and Turkish, with a control set.

Neplenbroek et al. 2024, arXiv:2406.07243. Each context names two people. It does not say which of the two the question
is about (ambiguous: the right answer is "unknown"), or it does (disambiguated). The control set has first names
instead of groups. The candidates of an item are named by their role, which
`mlprune.evaluation.scoring.choice_statistics` reads.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from mlprune.corpus.text_files import read_json_lines
from mlprune.errors import TaskFileError
from mlprune.evaluation.scoring.choice_statistics import BIASED, COUNTER_BIASED, UNKNOWN
from mlprune.evaluation.tasks.items import (
    ChoiceItem,
    ItemGroup,
    Row,
    choice_item,
    number_of,
    stated_name,
    text_of,
    texts_of,
)
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import Task
from mlprune.languages import language_tag

ANSWERS = ("ans0", "ans1", "ans2")
KEYS = ("context", "question", *ANSWERS, "label", "question_polarity", "answer_info", "additional_metadata")
SPLITS = {"": "test", "_control": "control"}
FILE = re.compile(rf"(?:.*/)?(?P<subset>[A-Z][A-Za-z_]*?)(?P<split>|_control)_{layout.LANGUAGE}\.jsonl(?:\.gz|\.zst)?")
SAME: Mapping[str, str] = {
    **dict.fromkeys(["woman", "girl", "vrouw", "meisje", "kız", "kadın", "chica", "mujer", "maestra"], "F"),
    **dict.fromkeys(["man", "boy", "jongen", "erkek çocuk", "adam", "chico", "hombre", "maestro"], "M"),
    "low SES": "lowSES",
}
"""Groups that have several names in the files -> one of them, as in the published code."""


def mbbq() -> Task:
    """Questions whose answers can show stereotypes."""
    return Task(
        "mbbq",
        ("accuracy", "accuracy_ambiguous", "accuracy_disambiguated", "bias_ambiguous", "bias_disambiguated"),
        KEYS,
        mbbq_item,
        ties="shared",
        texts=("context", "question", *ANSWERS),
        groups=mbbq_groups,
        citation="Neplenbroek et al. 2024, arXiv:2406.07243",
        layouts=(layout.TaskLayout("mbbq", ("mbbq",), "data/Age_es.jsonl, data/Age_control_es.jsonl", _find, _read),),
    )


def mbbq_item(example_id: str, row: Row) -> ChoiceItem:
    """`{context} {question} {answer}` with each of three answers.

    The published code lets a chat model answer five prompts and looks for the answer in the reply instead.
    """
    context, question = (text_of(row, key).strip() for key in ("context", "question"))
    answers = [text_of(row, key).strip() for key in ANSWERS]
    gold = number_of(row, "label", range(len(ANSWERS)))
    return choice_item(example_id, _roles(row), context=f"{context} {question} ", parts=answers, gold=gold)


def _roles(row: Row) -> list[str]:
    """Return the role of each answer: unknown, biased or counter-biased.

    A negative question is answered in a biased way by the stereotyped person, another question by the other one. Some
    rows name two people of stereotyped groups, or none: their answers have no roles.

    Raises:
        TaskFileError: the groups are not stated as published, or not exactly one answer is unknown.
    """
    polarity, groups = row["question_polarity"], [_group(row, key) for key in ANSWERS]
    if polarity not in ("neg", "nonneg"):
        expected = ("neg", "nonneg")
        raise TaskFileError("unknown polarity", key="question_polarity", expected=expected, got=polarity)
    if groups.count(UNKNOWN) != 1:
        raise TaskFileError("not one answer is unknown", key="answer_info", expected=f"{UNKNOWN} once", got=groups)
    stereotyped = _stereotyped(row)
    targets = [group in stereotyped for group in groups if group != UNKNOWN]
    if sum(targets) != 1:
        return [UNKNOWN if group == UNKNOWN else f"person {place}" for place, group in enumerate(groups)]
    by_target = {True: BIASED, False: COUNTER_BIASED} if polarity == "neg" else {True: COUNTER_BIASED, False: BIASED}
    return [UNKNOWN if group == UNKNOWN else by_target[group in stereotyped] for group in groups]


def _group(row: Row, answer: str) -> str:
    info = row["answer_info"]
    named = info.get(answer) if isinstance(info, Mapping) else None
    if not isinstance(named, list) or len(named) < 2 or not isinstance(named[1], str):
        raise TaskFileError("wrong answer_info", key=answer, expected="[name, group]", got=named)
    return SAME.get(named[1], named[1])


def _stereotyped(row: Row) -> list[str]:
    metadata = row["additional_metadata"]
    groups = texts_of(
        metadata if isinstance(metadata, Mapping) else {"stereotyped_groups": metadata}, "stereotyped_groups"
    )
    return [SAME.get(group, group) for group in groups]


def mbbq_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The questions of one template are a cluster; the category is the subset, such as `Age`."""
    categories = [stated_name(row, "category") for row in rows]
    templates = [stated_name(row, "question_index") for row in rows]
    return [
        ItemGroup(f"{category}:{template}" if template else "", category)
        for category, template in zip(categories, templates, strict=True)
    ]


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield the first file of each folder, language and split; the others have the other subsets."""
    seen: dict[tuple[str, str, str], None] = {}
    for name in tree.names:
        match = FILE.fullmatch(name)
        if match is None:
            continue
        key = (name.rpartition("/")[0], match["language"], match["split"])
        if key not in seen and set(layout.first_object(tree.file(name))) >= set(KEYS):
            seen[key] = None
            yield layout.TaskFile(name, language_tag(match["language"]), SPLITS[match["split"]])


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read all subsets of a language; an id is the subset and `example_id`, which are the same in all languages."""
    first = FILE.fullmatch(file.name)
    assert first is not None, "the file was found by its name"
    rows: list[Row] = []
    for name in tree.names:
        match = FILE.fullmatch(name)
        is_sibling = match is not None and name.rpartition("/")[0] == file.name.rpartition("/")[0]
        if match and is_sibling and (match["language"], match["split"]) == (first["language"], first["split"]):
            of_subset = read_json_lines(tree.file(name))
            rows += [{**row, "id": f"{match['subset']}:{row.get('example_id')}"} for row in of_subset]
    return rows
