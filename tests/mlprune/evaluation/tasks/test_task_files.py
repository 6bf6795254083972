"""Lookup of task files, checks of their rows, limits, and clusters and categories of items."""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune.capabilities.inspection.task_reports import task_reports
from mlprune.corpus import cldr_facts
from mlprune.descriptions import TemplateTask
from mlprune.errors import BlankTextError, EqualCandidatesError, TaskFileError
from mlprune.evaluation.tasks.items import (
    ChoiceItem,
    ItemGroup,
    TranslationItem,
    groups_sha256,
    published_examples,
    runs,
)
from mlprune.evaluation.tasks.task import RIGHT, Task, template_task
from mlprune.evaluation.tasks.task_files import (
    SKIPPED_ROWS,
    ItemSelection,
    TaskData,
    corpus_items,
    read_items,
    skipped_lines,
)
from mlprune.hashing import split_of
from tests.published_data import NEWS_TOPICS, PUBLISHED, SIB_TOPICS, N, csv_tabs
from tests.refusals import refused

ROWS: list[dict[str, Any]] = [
    {"id": number, "premise": f"p{number}", "hypothesis": f"h{number}", "label": number % 3, "other": "x"}
    for number in range(20)
]
BLANK, EQUAL = SKIPPED_ROWS[BlankTextError], SKIPPED_ROWS[EqualCandidatesError]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_a_file_is_found_under_its_tag_then_under_its_long_name(tmp_path: Path) -> None:
    write(tmp_path / "fra_Latn.test.jsonl.gz", ROWS)
    assert read_items("xnli", tmp_path, ItemSelection("fr", "test")).path.endswith("fra_Latn.test.jsonl.gz")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "fr.test.parquet")
    assert read_items("xnli", tmp_path, ItemSelection("fr", "test")).path.endswith("fr.test.parquet")
    write(tmp_path / "fr.test.jsonl", ROWS)
    assert read_items("xnli", tmp_path, ItemSelection("fr", "test")).path.endswith("fr.test.jsonl")


def test_file_format_and_unused_keys_change_neither_items_nor_hash(tmp_path: Path) -> None:
    write(tmp_path / "en.test.jsonl", ROWS)
    write(tmp_path / "fr.test.jsonl.gz", [{**row, "other": 5} for row in ROWS])
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "es.test.parquet")
    read = [read_items("xnli", tmp_path, ItemSelection(language, "test")) for language in ("en", "fr", "es")]
    assert len({(data.items, data.content_sha256) for data in read}) == 1
    write(tmp_path / "en.test.jsonl", [{**ROWS[0], "premise": "other"}, *ROWS[1:]])
    assert read_items("xnli", tmp_path, ItemSelection("en", "test")).content_sha256 != read[0].content_sha256


def test_a_missing_file_error_names_the_first_expected_file(tmp_path: Path) -> None:
    write(tmp_path / "en.test.jsonl", ROWS)
    with pytest.raises(TaskFileError) as caught:
        read_items("xnli", tmp_path, ItemSelection("fr", "test"))
    assert "fr.test.jsonl" in caught.value.context["expected"]
    assert caught.value.context["got"] == ["en.test.jsonl"]
    with refused(TaskFileError, language="fr", got="no such folder"):
        read_items("xnli", tmp_path / "none", ItemSelection("fr", "test"))


@pytest.mark.parametrize(
    "row",
    [
        {"id": 3, "premise": "p", "hypothesis": "h"},
        {"premise": "p", "hypothesis": "h", "label": 1},
        {"id": 3, "premise": "p", "hypothesis": "h", "label": 9},
        {"id": 3, "premise": "p", "hypothesis": 7, "label": 1},
        {"id": 1, "premise": "p", "hypothesis": "h", "label": 1},
        {"id": "1", "premise": "p", "hypothesis": "h", "label": 1},
        {"id": None, "premise": "p", "hypothesis": "h", "label": 1},
        {"id": 1.5, "premise": "p", "hypothesis": "h", "label": 1},
        {"id": "", "premise": "p", "hypothesis": "h", "label": 1},
    ],
)
def test_a_wrong_row_is_one_line_with_file_line_expected_and_got(tmp_path: Path, row: dict[str, Any]) -> None:
    path = write(tmp_path / "en.test.jsonl", [*ROWS[:3], row])
    with refused(TaskFileError, file=str(path), line=4) as caught:
        read_items("xnli", tmp_path, ItemSelection("en", "test"))
    assert {"expected", "got"} <= set(caught.value.context)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["premise", "hypothesis"])
@pytest.mark.parametrize("value", ["", " \t", None])
def test_a_row_with_a_blank_text_is_skipped_and_named(tmp_path: Path, key: str, value: str | None) -> None:
    blank = {"id": 99, "premise": "p", "hypothesis": "h", "label": 1, key: value}
    write(tmp_path / "en.test.jsonl", [*ROWS[:2], blank, *ROWS[2:]])
    data = read_items("xnli", tmp_path, ItemSelection("en", "test"))
    assert [item.example_id for item in data.items] == [str(row["id"]) for row in ROWS]
    assert (data.skipped_ids, dict(data.skipped)) == ({BLANK: ("99",)}, {BLANK: 1})
    assert data.lines["99"] == 2
    write(tmp_path / "fr.test.jsonl", [blank])
    with refused(TaskFileError, skipped={BLANK: 1}):
        read_items("xnli", tmp_path, ItemSelection("fr", "test"))


def test_skipped_rows_are_one_line_per_reason_with_the_total() -> None:
    empty = TaskData((), "", "", {})
    read = {f"l{n}": replace(empty, skipped={"a single candidate": 34}) for n in range(53)}
    read["nah"] = replace(empty, skipped={BLANK: 2}, skipped_ids={BLANK: ("12", "80")})
    first, second = skipped_lines(read)
    assert "1802 rows" in first
    assert "a single candidate" in first
    assert all(name in second for name in ("2 rows", "nah 12", "nah 80"))


def test_a_line_that_is_not_json_is_a_task_file_error(tmp_path: Path) -> None:
    (tmp_path / "en.test.jsonl").write_text("not json\n")
    with refused(TaskFileError, line=1):
        read_items("xnli", tmp_path, ItemSelection("en", "test"))


def test_a_file_without_items_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "en.test.jsonl", [{"id": 1, "text": "so so", "label": 3}])
    with refused(TaskFileError, language="en", expected="at least one"):
        read_items("marc", tmp_path, ItemSelection("en", "test"))


def test_tasks_on_parallel_text_have_no_task_files(tmp_path: Path) -> None:
    with refused(TaskFileError, expected="a corpus", task="perplexity"):
        read_items("perplexity", tmp_path, ItemSelection("en", "test"))


def test_a_limit_keeps_the_ids_with_the_smallest_hashes_in_file_order(tmp_path: Path) -> None:
    write(tmp_path / "en.test.jsonl", ROWS)
    for seed in (0, 1):
        data = read_items("xnli", tmp_path, ItemSelection("en", "test", 5, seed))
        hashes = sorted((hashlib.sha256(f"{seed}:{number}".encode()).hexdigest(), number) for number in range(20))
        assert [item.example_id for item in data.items] == [str(n) for n in sorted(number for _, number in hashes[:5])]
    whole = read_items("xnli", tmp_path, ItemSelection("en", "test"))
    assert len(whole.items) == 20
    assert whole.content_sha256 == data.content_sha256
    assert len(read_items("xnli", tmp_path, ItemSelection("en", "test", 50)).items) == 20


def test_corpus_facts_are_the_held_out_facts_of_a_half() -> None:
    halves = [corpus_items("facts", {}, ItemSelection("fr", split)) for split in ("dev", "test")]
    ids = [{item.example_id for item in half.items} for half in halves]
    held_out = {fact.fact_id for fact in cldr_facts.facts() if cldr_facts.is_held_out(fact.fact_id)}
    assert ids[0] | ids[1] == held_out
    assert not ids[0] & ids[1]
    assert all(split_of(example_id) == "dev" for example_id in ids[0])
    assert (
        halves[0].content_sha256
        == halves[1].content_sha256
        != corpus_items("facts", {}, ItemSelection("es")).content_sha256
    )


def test_halves_of_clusters_have_all_items_and_share_no_cluster() -> None:
    by_items, by_clusters = (
        [corpus_items("facts", {}, ItemSelection("fr", split), split_by=by).items for split in ("dev", "test")]
        for by in ("items", "clusters")
    )
    assert {item.cluster for item in by_items[0]} & {item.cluster for item in by_items[1]}
    clusters = [{item.cluster or item.example_id for item in half} for half in by_clusters]
    assert not clusters[0] & clusters[1]
    assert all(split_of(name) == "dev" for name in clusters[0])
    ids = [sorted(item.example_id for half in halves for item in half) for halves in (by_items, by_clusters)]
    assert ids[0] == ids[1]


def test_sentences_without_documents_are_clusters_of_their_own() -> None:
    lines = {"fr": tuple(f"phrase {number}" for number in range(30))}
    halves = [
        corpus_items("perplexity", lines, ItemSelection("fr", "test"), split_by=by) for by in ("items", "clusters")
    ]
    assert halves[0].items == halves[1].items


def test_corpus_facts_are_true_sentences() -> None:
    facts = {fact.fact_id: fact for fact in cldr_facts.facts()}
    for language in ("zh", "sw"):
        for item in corpus_items("facts", {}, ItemSelection(language, "dev")).items:
            assert item.texts[item.gold] == cldr_facts.sentence(facts[item.example_id], language)


def test_corpus_sentences_are_perplexity_items_by_line() -> None:
    lines = {"fr": tuple(f"phrase {number}" for number in range(30))}
    data = corpus_items("perplexity", lines, ItemSelection("fr", "test"))
    expected = [(str(number), (f"phrase {number}",)) for number in range(30) if split_of(number) == "test"]
    assert [(item.example_id, item.texts) for item in data.items] == expected
    assert data.path == "corpus"
    assert len(corpus_items("perplexity", lines, ItemSelection("fr")).items) == 30
    assert len(corpus_items("perplexity", lines, ItemSelection("fr", limit=4)).items) == 4


def test_corpus_pairs_are_translation_items() -> None:
    lines = {"fr": ("un", "deux"), "en": ("one", "two")}
    data = corpus_items("translation", lines, ItemSelection("fr"), target="en")
    assert data.items == (TranslationItem("0", "un", "one"), TranslationItem("1", "deux", "two"))
    assert data.content_sha256 != corpus_items("translation", lines, ItemSelection("en"), target="fr").content_sha256


def test_a_corpus_that_does_not_fit_the_task_is_an_error() -> None:
    lines = {"fr": ("un", "deux"), "en": ("one",), "es": (" ",)}
    for task, language, target in (
        ("xnli", "fr", None),
        ("perplexity", "de", None),
        ("perplexity", "es", None),
        ("perplexity", "fr", "en"),
        ("translation", "fr", None),
        ("translation", "fr", "en"),
        ("facts", "de", None),
    ):
        with pytest.raises(TaskFileError):
            corpus_items(task, lines, ItemSelection(language), target=target)
    with refused(TaskFileError, language="fr", got="0 in both halves"):
        corpus_items("perplexity", {"fr": ()}, ItemSelection("fr"))


XNLI = {"premise": "p", "hypothesis": "h"}


def test_examples_and_labels_are_counted_and_wrong_rows_are_problems(tmp_path: Path) -> None:
    write(tmp_path / "fr.dev.jsonl", [{"id": n, **XNLI, "label": n % 2} for n in range(5)])
    write(tmp_path / "en.dev.jsonl", [{"id": 1, **XNLI, "label": 1}])
    write(tmp_path / "en.test.jsonl", [{"id": 1, **XNLI, "label": 7}])
    (report,) = task_reports(tmp_path)
    assert [(row.language, row.split, row.n, row.labels) for row in report.rows] == [
        ("en", "dev", 1, {"1": 1}),
        ("fr", "dev", 5, {"0": 3, "1": 2}),
    ]
    assert [row.chance for row in report.rows] == [pytest.approx(1 / 3), pytest.approx(0.6)]
    assert len(report.problems) == 1
    assert "wrong label" in report.problems[0]
    assert report.notes == ("fr dev: repeated examples: 4",)
    assert report.recipe == f"evaluations: [{{task: xnli, path: {tmp_path}, languages: [en, fr], split: dev}}]"
    (only,) = task_reports(tmp_path, task="xnli", split="dev")
    assert (only.problems, only.recipe.endswith("split: dev}]")) == ((), True)


def test_skipped_rows_are_one_note_with_their_names_and_wrong_languages_are_not_in_the_recipe(tmp_path: Path) -> None:
    for language, blank in (("en", ""), ("fr", "h"), ("sw", " ")):
        rows = [{"id": 1, **XNLI, "label": 1}, {"id": 2, "premise": "q", "hypothesis": blank, "label": 0}]
        write(tmp_path / f"{language}.test.jsonl", rows)
    write(tmp_path / "yo.test.jsonl", [{"id": 1, **XNLI, "label": 7}])
    (report,) = task_reports(tmp_path)
    (note,) = report.notes
    assert all(part in note for part in ("2 rows", "en test 2", "sw test 2"))
    assert len(report.problems) == 1
    assert "languages: [en, fr, sw]" in report.recipe
    (wrong,) = task_reports(tmp_path / "yo.test.jsonl")
    assert wrong.recipe == ""


def test_ids_that_name_other_items_are_a_note_and_keys_of_the_recipe(tmp_path: Path) -> None:
    """A file whose first rows are left out numbers the others again; one corrected label is no such file."""
    labels = [n * n % 3 for n in range(40)]
    corrected = [1 - labels[0], *labels[1:]]
    for language, of_language in (("en", labels), ("fr", corrected), ("nah", labels[2:])):
        rows = [{"id": n, "premise": f"p{n}", "hypothesis": "h", "label": label} for n, label in enumerate(of_language)]
        write(tmp_path / f"{language}.test.jsonl", rows)
    (report,) = task_reports(tmp_path)
    (nah,) = (note for note in report.notes if note.startswith("nah test: "))
    (fr,) = (note for note in report.notes if note.startswith("fr test: "))
    assert "of 38 ids" in nah
    assert "aligned: false" in nah
    assert "1 of 40 ids" in fr
    assert "aligned" not in fr
    assert report.recipe.endswith(", aligned: false}]")
    assert report.problems == ()


def test_ids_of_files_that_are_not_aligned_begin_with_the_language(tmp_path: Path) -> None:
    for language in ("en", "fr"):
        write(tmp_path / f"{language}.test.jsonl", ROWS)
    read = [
        read_items("xnli", tmp_path, ItemSelection(language, "test", 3), aligned=False) for language in ("en", "fr")
    ]
    assert {item.example_id.split(":")[0] for item in read[1].items} == {"fr"}
    assert not {item.example_id for item in read[0].items} & {item.example_id for item in read[1].items}
    assert len(read[0].rows) == len(read[0].items) == 3


def test_answers_of_tasks_with_their_own_candidates_are_positions(tmp_path: Path) -> None:
    rows = [
        {"id": n, "prompt": "<mask>", "candidates": [f"{n} {place}" for place in range(10)], "answer": gold}
        for n, gold in enumerate((9, 1, 1))
    ]
    write(tmp_path / "fr.test.jsonl", rows)
    (report,) = task_reports(tmp_path)
    assert list(report.rows[0].labels.items()) == [("candidate 2", 2), ("candidate 10", 1)]
    assert "task: facts" in report.recipe
    assert report.rows[0].chance == pytest.approx(0.1)
    assert task_reports(tmp_path / "none") == []


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
    "xnli-african": (PREMISES, NONE),
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
    "global-mmlu": (OWN, ["STEM\nculturally sensitive", "STEM\nculturally agnostic", "STEM"] * 2),
    "include": (OWN, ["Driving License\nregional feature: explicit"] * N),
    "mmlu-prox": (OWN, ["physics"] * N),
    "afrimmlu": (OWN, ["global_facts"] * N),
    "mmmlu": (OWN, ["anatomy"] * N),
    "xcsqa": (OWN, NONE),
    "xcsqa-hub": (OWN, NONE),
    "masakhanews": (OWN, NEWS_TOPICS),
    "xwinograd": ([f"{{language}}:{number // 2 * 2}" for number in range(N)], NONE),
    "global-piqa-parallel": (OWN, ["tools"] * N),
    "global-piqa": (OWN, ["tools"] * N),
    "m-hellaswag": ([f"wikihow~{number // 2}" for number in range(N)], ["wikihow"] * N),
    "xquad": (["50"] * 3 + ["53"] * 3, NONE),
    "xquad-hub": (["50"] * 3 + ["53"] * 3, NONE),
    "mgsm": ([""] * 6, [""] * 6),
    "polymath": ([""] * 6, [""] * 6),
    "multiloko": ([""] * 6, ["number"] + ["word"] * 5),
    "mbbq": (["Age:1"] * 4 + ["Disability_status:1"] * 2, ["Age"] * 4 + ["Disability_status"] * 2),
}
"""Published layout -> clusters and categories of its items in its first split, in every language."""


def groups(data: TaskData) -> list[tuple[str, str]]:
    return [(item.cluster, item.category) for item in data.items]


def nli(number: int, premise: str, **more: object) -> dict[str, Any]:
    return {"id": number, "premise": premise, "hypothesis": f"h{number}", "label": number % 3, **more}


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_tell_clusters_and_categories_equally_in_all_languages(tmp_path: Path, name: str) -> None:
    published = PUBLISHED[name]
    published.write(tmp_path)
    for language, splits in published.splits.items():
        data = read_items(published.tasks[0], tmp_path, ItemSelection(language, splits[0]))
        clusters, categories = GROUPS[name]
        named = [cluster.format(language=language) for cluster in clusters]
        assert groups(data) == list(zip(named, categories, strict=True)), language
        assert bool(data.groups_sha256) == any(map(any, groups(data)))


def test_the_hash_with_one_category_is_that_of_files_without_further_ones(tmp_path: Path) -> None:
    PUBLISHED["global-mmlu"].write(tmp_path)
    data = read_items("global_mmlu", tmp_path, ItemSelection("en", "test"))
    first = {example_id: ItemGroup(category="STEM") for example_id in data.lines}
    assert data.earlier_groups_sha256 == groups_sha256(first) != data.groups_sha256


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
            data = read_items("xnli", tmp_path, ItemSelection(language, "test", limit))
            assert {item.example_id: item.cluster for item in data.items}.items() <= expected.items()
            assert len(data.items) == (limit or len(expected))
    assert groups_sha256({"0": ItemGroup("0")}) != groups_sha256({"1": ItemGroup("0")})


def test_adjacent_sentences_with_the_same_options_are_one_winograd_schema(tmp_path: Path) -> None:
    options = [("The cat", "Bob"), ("bob", "the cat"), ("The cat", "Ann"), ("The cat", "Bob")]
    rows = [
        {"id": n, "sentence": "_ sat.", "option1": a, "option2": b, "answer": 1} for n, (a, b) in enumerate(options)
    ]
    write(tmp_path / "en.test.jsonl", rows)
    data = read_items("xwinograd", tmp_path, ItemSelection("en", "test"))
    assert [item.cluster for item in data.items] == ["0", "0", "2", "3"]


def test_subjects_of_bmlama_are_those_of_the_english_file(tmp_path: Path) -> None:
    header = ["Prompt", "Ans", "Candidate Ans", "Subject"]
    subjects = {"en": ["Georgia (state)", "Georgia", "Georgia", ""], "zh": ["x", "x", "y", "z"], "fr": ["a", "a"]}
    for language, names in subjects.items():
        rows = [[f"{name} lies in <mask>.", "b", "a, b", name] for name in names]
        csv_tabs(tmp_path / f"{language}.tsv", [header, *rows])
    english, chinese, french = (
        groups(read_items("facts", tmp_path, ItemSelection(language, "test"))) for language in subjects
    )
    relation = "[X] lies in <mask>."
    assert english == chinese == [("0", relation), ("1", relation), ("1", relation), ("3", "")]
    assert french == [("0", relation), ("0", relation)], "a file with other rows is read alone"


def test_what_a_row_states_comes_first_and_determines_the_hash_of_the_groups_alone(tmp_path: Path) -> None:
    stated = [nli(0, "a", cluster=7, category=" news "), nli(1, "a", cluster=None), nli(2, "b")]
    for name, rows in (("en", stated), ("fr", [nli(n, text) for n, text in enumerate("aab")])):
        write(tmp_path / f"{name}.test.jsonl", rows)
    english, french = (read_items("xnli", tmp_path, ItemSelection(language, "test")) for language in ("en", "fr"))
    assert groups(english) == [("7", "news"), ("0", ""), ("2", "")]
    assert english.content_sha256 == french.content_sha256
    assert english.groups_sha256 != french.groups_sha256


@pytest.mark.parametrize("value", [1.5, True, ["a"]])
def test_a_cluster_is_a_text_or_an_integer(tmp_path: Path, value: object) -> None:
    write(tmp_path / "en.test.jsonl", [nli(0, "a"), nli(1, "a", cluster=value)])
    with refused(TaskFileError, key="cluster", language="en") as caught:
        read_items("xnli", tmp_path, ItemSelection("en", "test"))
    context = caught.value.context
    assert (context["example"], context["language"], context["got"]) == (1, "en", value)
    assert str(context["file"]).endswith("en.test.jsonl")


def quiz(**keys: str) -> Task:
    record = {"name": "quiz", "template": "{text} {candidate}", "answer": "label", "labels": ("0", "1"), **keys}
    return template_task(TemplateTask.model_validate(record))


@pytest.mark.parametrize("keys", [{"candidates": ["A", "B", "C"]}, {"candidates": "options"}])
def test_equal_candidates_are_refused_or_skipped_and_counted(tmp_path: Path, keys: dict[str, Any]) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"q{n}", "text": "Qui?", "A": "oui", "B": other, "C": "si", "options": ["oui", other, "si"], "label": 0}
        for n, other in enumerate(("non", "oui", "no"))
    ]
    path = write(tmp_path / "fr.test.jsonl", rows)
    plain = {"name": "quiz", "template": "{text} {candidate}", "answer": "label", **keys}

    def read(**more: str) -> TaskData:
        definition = template_task(TemplateTask.model_validate({**plain, **more}))
        return read_items(definition, tmp_path, ItemSelection("fr", "test"))

    with refused(TaskFileError, file=str(path), line=2, example="q1", got=["oui", "oui", "si"]) as caught:
        read()
    assert "equal_candidates" in str(caught.value.context["expected"])
    skipping = read(equal_candidates="skip")
    assert [item.example_id for item in skipping.items] == ["q0", "q2"]
    assert (skipping.skipped_ids, dict(skipping.skipped)) == ({EQUAL: ("q1",)}, {EQUAL: 1})
    (line,) = skipped_lines({"fr": skipping})
    assert "fr q1" in line
    write(path, rows[1:2])
    with refused(TaskFileError, skipped={EQUAL: 1}):
        read(equal_candidates="skip")


def test_candidates_that_a_translation_made_equal_stay(tmp_path: Path) -> None:
    row = {"text": "Qui?", "A": "Yes", "B": "Yes", "label": 0, RIGHT: 1}
    record = {"name": "quiz", "template": "{text} {candidate}", "answer": "label", "candidates": ["A", "B"]}
    to_item = template_task(TemplateTask.model_validate(record)).to_item
    assert to_item is not None
    item = to_item("1", row)
    assert isinstance(item, ChoiceItem)
    assert (item.candidates, item.gold) == (("Yes", "Yes"), 1)


def test_a_template_may_name_the_keys_of_cluster_and_category(tmp_path: Path) -> None:
    rows = [{"id": n, "text": "t", "label": 0, "page": f"p{n // 2}", "kind": "k", "cluster": "c"} for n in range(3)]
    write(tmp_path / "en.test.jsonl", rows)

    def read(**keys: str) -> TaskData:
        return read_items(quiz(**keys), tmp_path, ItemSelection("en", "test"))

    assert groups(read(cluster="page", category="kind")) == [("p0", "k"), ("p0", "k"), ("p1", "k")]
    assert groups(read()) == [("c", "")] * 3
    with refused(TaskFileError, example=0, expected="passage"):
        read(cluster="passage")


def test_cldr_facts_are_grouped_by_territory_and_by_relation() -> None:
    french, chinese = (corpus_items("facts", {}, ItemSelection(language, "dev")) for language in ("fr", "zh"))
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
    data = corpus_items("translation", lines, ItemSelection("fr"), target="en", documents=documents)
    assert groups(data) == [("page", "news"), ("", "")]
    assert corpus_items("translation", lines, ItemSelection("fr"), target="en").groups_sha256 == ""


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
