"""Clusters and categories of items: as published, stated by rows, and equal in all languages."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlprune.corpus import cldr_facts
from mlprune.descriptions import TemplateTask
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ItemGroup, groups_sha256, published_examples, runs
from mlprune.evaluation.tasks.task import Task, template_task
from mlprune.evaluation.tasks.task_files import TaskData, corpus_items, read_items
from tests.published_data import PUBLISHED, SIB_TOPICS, N, csv_tabs
from tests.refusals import refused

PREMISES = ["0", "0", "0", "3", "3", "3"]
"""Clusters of `published_data.pair`: the id of the first of three rows."""
OWN, NONE = [""] * N, [""] * N
GROUPS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "xnli-archive": (["1"] * 3 + ["3"] * 3, ["facetoface"] * N),
    "xnli-objects": (["1"] * 3 + ["3"] * 3, ["facetoface"] * N),
    "xnli-xtreme": (PREMISES, NONE),
    "xnli-mt": (PREMISES, NONE),
    "xnli-kor": (PREMISES, NONE),
    "xnli-table": (PREMISES, NONE),
    "xnli-my": (PREMISES, ["facetoface"] * N),
    "xcopa": (OWN, ["cause", "effect"] * 3),
    "paws-x": (OWN, NONE),
    "paws-x-xtreme": (OWN, NONE),
    "marc": (["p"] * N, ["other"] * N),
    "marc-copies": (OWN, NONE),
    "bmlama": ([str(number) for number in range(N)], ["[X] = <mask>."] * N),
    "mlama": (["Q1"] * N, ["P19"] * N),
    "xstory-cloze": (OWN, NONE),
    "belebele": (["https://x.org/a"] * N, ["x.org"] * N),
    "sib200": (OWN, SIB_TOPICS[:N]),
    "multiblimp": ([f"{{language}}:{number // 2 * 2}" for number in range(N)], ["SV-#"] * N),
    "global-mmlu": (OWN, ["STEM"] * N),
    "include": (OWN, ["Driving License"] * N),
    "xquad": (["50"] * 3 + ["53"] * 3, NONE),
    "xquad-hub": (["50"] * 3 + ["53"] * 3, NONE),
    "mbbq": (["Age:1"] * 4 + ["Disability_status:1"] * 2, ["Age"] * 4 + ["Disability_status"] * 2),
}
"""Published layout -> clusters and categories of its items in its first split, in every language."""


def groups(data: TaskData) -> list[tuple[str, str]]:
    return [(item.cluster, item.category) for item in data.items]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def nli(number: int, premise: str, **more: object) -> dict[str, Any]:
    return {"id": number, "premise": premise, "hypothesis": f"h{number}", "label": number % 3, **more}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_tell_clusters_and_categories_equally_in_all_languages(tmp_path: Path, name: str) -> None:
    published = PUBLISHED[name]
    published.write(tmp_path)
    for language, splits in published.splits.items():
        data = read_items(published.tasks[0], tmp_path, language=language, split=splits[0])
        clusters, categories = GROUPS[name]
        named = [cluster.format(language=language) for cluster in clusters]
        assert groups(data) == list(zip(named, categories, strict=True)), language
        assert bool(data.groups_sha256) == any(map(any, groups(data)))


def test_hypotheses_of_one_premise_are_a_cluster_in_every_language(tmp_path: Path) -> None:
    premises = {
        "en": ["Yes.", "Yes. ", "No.", "No.", "Yes.", "Maybe."],
        "fr": ["Oui.", "Oui.", "Non.", "Non.", "Si.", "Peut-être."],
        "zh": ["是。", "是。", "不。", " 不。", "是。", "也许。"],
    }
    for language, texts in premises.items():
        write(tmp_path / f"{language}.test.jsonl", [nli(number, text) for number, text in enumerate(texts)])
    expected = {"0": "0", "1": "0", "2": "2", "3": "2", "4": "4", "5": "5"}
    for language in premises:
        for limit in (None, 3):
            data = read_items("xnli", tmp_path, language=language, split="test", limit=limit)
            assert {item.example_id: item.cluster for item in data.items}.items() <= expected.items()
            assert len(data.items) == (limit or len(expected))
    assert groups_sha256({"0": ItemGroup("0")}) != groups_sha256({"1": ItemGroup("0")})


def test_adjacent_sentences_with_the_same_options_are_one_winograd_schema(tmp_path: Path) -> None:
    options = [("The cat", "Bob"), ("bob", "the cat"), ("The cat", "Ann"), ("The cat", "Bob")]
    rows = [
        {"id": n, "sentence": "_ sat.", "option1": a, "option2": b, "answer": 1} for n, (a, b) in enumerate(options)
    ]
    write(tmp_path / "en.test.jsonl", rows)
    data = read_items("xwinograd", tmp_path, language="en", split="test")
    assert [item.cluster for item in data.items] == ["0", "0", "2", "3"]


def test_subjects_of_bmlama_are_those_of_the_english_file(tmp_path: Path) -> None:
    header = ["Prompt", "Ans", "Candidate Ans", "Subject"]
    subjects = {"en": ["Georgia (state)", "Georgia", "Georgia", ""], "zh": ["x", "x", "y", "z"], "fr": ["a", "a"]}
    for language, names in subjects.items():
        rows = [[f"{name} lies in <mask>.", "b", "a, b", name] for name in names]
        csv_tabs(tmp_path / f"{language}.tsv", [header, *rows])
    english, chinese, french = (
        groups(read_items("facts", tmp_path, language=language, split="test")) for language in subjects
    )
    relation = "[X] lies in <mask>."
    assert english == chinese == [("0", relation), ("1", relation), ("1", relation), ("3", "")]
    assert french == [("0", relation), ("0", relation)], "a file with other rows is read alone"


def test_what_a_row_states_comes_first_and_determines_the_hash_of_the_groups_alone(tmp_path: Path) -> None:
    stated = [nli(0, "a", cluster=7, category=" news "), nli(1, "a", cluster=None), nli(2, "b")]
    for name, rows in (("en", stated), ("fr", [nli(n, text) for n, text in enumerate("aab")])):
        write(tmp_path / f"{name}.test.jsonl", rows)
    english, french = (read_items("xnli", tmp_path, language=language, split="test") for language in ("en", "fr"))
    assert groups(english) == [("7", "news"), ("0", ""), ("2", "")]
    assert english.content_sha256 == french.content_sha256
    assert english.groups_sha256 != french.groups_sha256


@pytest.mark.parametrize("value", [1.5, True, ["a"]])
def test_a_cluster_is_a_text_or_an_integer(tmp_path: Path, value: object) -> None:
    write(tmp_path / "en.test.jsonl", [nli(0, "a"), nli(1, "a", cluster=value)])
    with refused(TaskFileError, key="cluster", language="en") as caught:
        read_items("xnli", tmp_path, language="en", split="test")
    context = caught.value.context
    assert (context["example"], context["language"], context["got"]) == (1, "en", value)
    assert str(context["file"]).endswith("en.test.jsonl")


def quiz(**keys: str) -> Task:
    record = {"name": "quiz", "template": "{text} {candidate}", "answer": "label", "labels": ("0", "1"), **keys}
    return template_task(TemplateTask.model_validate(record))


def test_a_template_may_name_the_keys_of_cluster_and_category(tmp_path: Path) -> None:
    rows = [{"id": n, "text": "t", "label": 0, "page": f"p{n // 2}", "kind": "k", "cluster": "c"} for n in range(3)]
    write(tmp_path / "en.test.jsonl", rows)

    def read(**keys: str) -> TaskData:
        return read_items(quiz(**keys), tmp_path, language="en", split="test")

    assert groups(read(cluster="page", category="kind")) == [("p0", "k"), ("p0", "k"), ("p1", "k")]
    assert groups(read()) == [("c", "")] * 3
    with refused(TaskFileError, example=0, expected="passage"):
        read(cluster="passage")


def test_cldr_facts_are_grouped_by_territory_and_by_relation() -> None:
    french, chinese = (corpus_items("facts", {}, language=language, split="dev") for language in ("fr", "zh"))
    assert groups(french) == groups(chinese)
    assert french.groups_sha256 == chinese.groups_sha256
    for item in french.items:
        assert item.example_id == f"{item.category}:{item.cluster}"
    subjects = {item.cluster for item in french.items if item.category != "month"}
    assert subjects <= set(cldr_facts.territories())
    assert len(subjects) < len(french.items)


def test_sentences_have_the_groups_of_their_documents() -> None:
    lines = {"fr": ("un", "deux"), "en": ("one", "two")}
    documents = (ItemGroup("page", "news"), ItemGroup())
    data = corpus_items("translation", lines, language="fr", target="en", documents=documents)
    assert groups(data) == [("page", "news"), ("", "")]
    assert corpus_items("translation", lines, language="fr", target="en").groups_sha256 == ""


def test_runs_are_named_by_their_first_row() -> None:
    rows = [{"id": number, "key": key} for number, key in enumerate("aabba")]
    assert runs(rows, lambda row: row["key"]) == ["0", "0", "2", "2", "4"]


def test_the_order_is_that_of_the_published_shuffle_of_xnli() -> None:
    """XNLI has 5,010 test examples. These are the first of NumPy's permutation with seed 0."""
    assert published_examples(range(5010), 6) == tuple(sorted([50, 1498, 2596, 3879, 4334, 2413]))


def test_all_items_are_kept_in_their_order_if_there_are_no_more_than_the_limit() -> None:
    assert published_examples("abc", 3) == published_examples("abc", 1000) == ("a", "b", "c")


def test_a_smaller_limit_keeps_a_part_of_a_larger_one() -> None:
    kept = published_examples(range(50), 10)
    assert list(kept) == sorted(kept)
    assert set(published_examples(range(50), 4)) < set(kept)
