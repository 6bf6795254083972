"""Lookup of task files, checks of their rows, and limits."""

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune.corpus import cldr_facts
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import TranslationItem
from mlprune.evaluation.tasks.task_files import BLANK, TaskData, corpus_items, read_items, skipped_lines, task_reports
from mlprune.hashing import split_of
from tests.refusals import refused

ROWS: list[dict[str, Any]] = [
    {"id": number, "premise": f"p{number}", "hypothesis": f"h{number}", "label": number % 3, "other": "x"}
    for number in range(20)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_a_file_is_found_under_its_tag_then_under_its_long_name(tmp_path: Path) -> None:
    write(tmp_path / "fra_Latn.test.jsonl.gz", ROWS)
    assert read_items("xnli", tmp_path, language="fr", split="test").path.endswith("fra_Latn.test.jsonl.gz")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "fr.test.parquet")
    assert read_items("xnli", tmp_path, language="fr", split="test").path.endswith("fr.test.parquet")
    write(tmp_path / "fr.test.jsonl", ROWS)
    assert read_items("xnli", tmp_path, language="fr", split="test").path.endswith("fr.test.jsonl")


def test_file_format_and_unused_keys_change_neither_items_nor_hash(tmp_path: Path) -> None:
    write(tmp_path / "en.test.jsonl", ROWS)
    write(tmp_path / "fr.test.jsonl.gz", [{**row, "other": 5} for row in ROWS])
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "es.test.parquet")
    read = [read_items("xnli", tmp_path, language=language, split="test") for language in ("en", "fr", "es")]
    assert len({(data.items, data.content_sha256) for data in read}) == 1
    write(tmp_path / "en.test.jsonl", [{**ROWS[0], "premise": "other"}, *ROWS[1:]])
    assert read_items("xnli", tmp_path, language="en", split="test").content_sha256 != read[0].content_sha256


def test_a_missing_file_error_lists_the_expected_names(tmp_path: Path) -> None:
    write(tmp_path / "en.test.jsonl", ROWS)
    with pytest.raises(TaskFileError) as caught:
        read_items("xnli", tmp_path, language="fr", split="test")
    expected = [
        f"{stem}.test.{end}" for stem in ("fr", "fra_Latn") for end in ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")
    ]
    assert caught.value.context["expected"] == expected
    assert caught.value.context["got"] == ["en.test.jsonl"]
    with refused(TaskFileError, language="fr", got="no such folder"):
        read_items("xnli", tmp_path / "none", language="fr", split="test")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": 3, "premise": "p", "hypothesis": "h"}, "lacks keys"),
        ({"premise": "p", "hypothesis": "h", "label": 1}, "lacks keys"),
        ({"id": 3, "premise": "p", "hypothesis": "h", "label": 9}, "wrong label"),
        ({"id": 3, "premise": "p", "hypothesis": 7, "label": 1}, "empty or missing text"),
        ({"id": 1, "premise": "p", "hypothesis": "h", "label": 1}, "id occurs twice"),
        ({"id": "1", "premise": "p", "hypothesis": "h", "label": 1}, "id occurs twice"),
        ({"id": None, "premise": "p", "hypothesis": "h", "label": 1}, "wrong id"),
        ({"id": 1.5, "premise": "p", "hypothesis": "h", "label": 1}, "wrong id"),
        ({"id": "", "premise": "p", "hypothesis": "h", "label": 1}, "wrong id"),
    ],
)
def test_a_wrong_row_is_one_line_with_file_line_expected_and_got(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "en.test.jsonl", [*ROWS[:3], row])
    with pytest.raises(TaskFileError, match=message) as caught:
        read_items("xnli", tmp_path, language="en", split="test")
    assert (caught.value.context["file"], caught.value.context["line"]) == (str(path), 4)
    assert {"expected", "got"} <= set(caught.value.context)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["premise", "hypothesis"])
@pytest.mark.parametrize("value", ["", " \t", None])
def test_a_row_with_a_blank_text_is_skipped_and_named(tmp_path: Path, key: str, value: str | None) -> None:
    blank = {"id": 99, "premise": "p", "hypothesis": "h", "label": 1, key: value}
    write(tmp_path / "en.test.jsonl", [*ROWS[:2], blank, *ROWS[2:]])
    data = read_items("xnli", tmp_path, language="en", split="test")
    assert [item.example_id for item in data.items] == [str(row["id"]) for row in ROWS]
    assert (data.blank, dict(data.skipped)) == (("99",), {BLANK: 1})
    assert data.lines["99"] == 2
    write(tmp_path / "fr.test.jsonl", [blank])
    with pytest.raises(TaskFileError) as caught:
        read_items("xnli", tmp_path, language="fr", split="test")
    assert caught.value.context["n_blank"] == 1


def test_skipped_rows_are_one_line_per_reason_with_the_total() -> None:
    empty = TaskData((), "", "", {})
    read = {f"l{n}": replace(empty, skipped={"a single candidate": 34}) for n in range(53)}
    read["nah"] = replace(empty, skipped={BLANK: 2}, blank=("12", "80"))
    first, second = skipped_lines(read)
    assert "1802 rows" in first
    assert "a single candidate" in first
    assert all(name in second for name in ("2 rows", "nah 12", "nah 80"))


def test_a_line_that_is_not_json_is_a_task_file_error(tmp_path: Path) -> None:
    (tmp_path / "en.test.jsonl").write_text("not json\n")
    with pytest.raises(TaskFileError) as caught:
        read_items("xnli", tmp_path, language="en", split="test")
    assert caught.value.context["line"] == 1


def test_a_file_without_items_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "en.test.jsonl", [{"id": 1, "text": "so so", "label": 3}])
    with refused(TaskFileError, language="en", expected="at least one"):
        read_items("marc", tmp_path, language="en", split="test")


def test_tasks_on_parallel_text_have_no_task_files(tmp_path: Path) -> None:
    with refused(TaskFileError, expected="a corpus", task="perplexity"):
        read_items("perplexity", tmp_path, language="en", split="test")


def test_a_limit_keeps_the_ids_with_the_smallest_hashes_in_file_order(tmp_path: Path) -> None:
    write(tmp_path / "en.test.jsonl", ROWS)
    for seed in (0, 1):
        data = read_items("xnli", tmp_path, language="en", split="test", limit=5, seed=seed)
        hashes = sorted((hashlib.sha256(f"{seed}:{number}".encode()).hexdigest(), number) for number in range(20))
        assert [item.example_id for item in data.items] == [str(n) for n in sorted(number for _, number in hashes[:5])]
    whole = read_items("xnli", tmp_path, language="en", split="test")
    assert len(whole.items) == 20
    assert whole.content_sha256 == data.content_sha256
    assert len(read_items("xnli", tmp_path, language="en", split="test", limit=50).items) == 20


def test_corpus_facts_are_the_held_out_facts_of_a_half() -> None:
    halves = [corpus_items("facts", {}, language="fr", split=split) for split in ("dev", "test")]
    ids = [{item.example_id for item in half.items} for half in halves]
    held_out = {fact.fact_id for fact in cldr_facts.facts() if cldr_facts.is_held_out(fact.fact_id)}
    assert ids[0] | ids[1] == held_out
    assert not ids[0] & ids[1]
    assert all(split_of(example_id) == "dev" for example_id in ids[0])
    assert (
        halves[0].content_sha256 == halves[1].content_sha256 != corpus_items("facts", {}, language="es").content_sha256
    )


def test_halves_of_clusters_have_all_items_and_share_no_cluster() -> None:
    by_items, by_clusters = (
        [corpus_items("facts", {}, language="fr", split=split, split_by=by).items for split in ("dev", "test")]
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
        corpus_items("perplexity", lines, language="fr", split="test", split_by=by) for by in ("items", "clusters")
    ]
    assert halves[0].items == halves[1].items


def test_corpus_facts_are_true_sentences() -> None:
    facts = {fact.fact_id: fact for fact in cldr_facts.facts()}
    for language in ("zh", "sw"):
        for item in corpus_items("facts", {}, language=language, split="dev").items:
            assert item.texts[item.gold] == cldr_facts.sentence(facts[item.example_id], language)


def test_corpus_sentences_are_perplexity_items_by_line() -> None:
    lines = {"fr": tuple(f"phrase {number}" for number in range(30))}
    data = corpus_items("perplexity", lines, language="fr", split="test")
    expected = [(str(number), (f"phrase {number}",)) for number in range(30) if split_of(number) == "test"]
    assert [(item.example_id, item.texts) for item in data.items] == expected
    assert data.path == "corpus"
    assert len(corpus_items("perplexity", lines, language="fr").items) == 30
    assert len(corpus_items("perplexity", lines, language="fr", limit=4).items) == 4


def test_corpus_pairs_are_translation_items() -> None:
    lines = {"fr": ("un", "deux"), "en": ("one", "two")}
    data = corpus_items("translation", lines, language="fr", target="en")
    assert data.items == (TranslationItem("0", "un", "one"), TranslationItem("1", "deux", "two"))
    assert data.content_sha256 != corpus_items("translation", lines, language="en", target="fr").content_sha256


def test_a_corpus_that_does_not_fit_the_task_is_an_error() -> None:
    lines = {"fr": ("un", "deux"), "en": ("one",), "es": (" ",)}
    for task, language, target, message in (
        ("xnli", "fr", None, "no items of this task"),
        ("perplexity", "de", None, "lacks a language"),
        ("perplexity", "es", None, "empty sentence"),
        ("perplexity", "fr", "en", "wrong number of languages"),
        ("translation", "fr", None, "wrong number of languages"),
        ("translation", "fr", "en", "not aligned"),
        ("facts", "de", None, "no facts in this language"),
    ):
        with pytest.raises(TaskFileError, match=message):
            corpus_items(task, lines, language=language, target=target)
    with refused(TaskFileError, language="fr", got="0 in both halves"):
        corpus_items("perplexity", {"fr": ()}, language="fr")


XNLI = {"premise": "p", "hypothesis": "h"}


def task_report_write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_examples_and_labels_are_counted_and_wrong_rows_are_problems(tmp_path: Path) -> None:
    task_report_write(tmp_path / "fr.dev.jsonl", [{"id": n, **XNLI, "label": n % 2} for n in range(5)])
    task_report_write(tmp_path / "en.dev.jsonl", [{"id": 1, **XNLI, "label": 1}])
    task_report_write(tmp_path / "en.test.jsonl", [{"id": 1, **XNLI, "label": 7}])
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
        task_report_write(tmp_path / f"{language}.test.jsonl", rows)
    task_report_write(tmp_path / "yo.test.jsonl", [{"id": 1, **XNLI, "label": 7}])
    (report,) = task_reports(tmp_path)
    (note,) = report.notes
    assert all(part in note for part in ("2 rows", "en test 2", "sw test 2"))
    assert len(report.problems) == 1
    assert "languages: [en, fr, sw]" in report.recipe
    (wrong,) = task_reports(tmp_path / "yo.test.jsonl")
    assert wrong.recipe == ""


def test_ids_that_name_other_items_are_a_note_and_keys_of_the_recipe(tmp_path: Path) -> None:
    """A file whose first rows are left out numbers the others anew; one corrected label is no such file."""
    labels = [n * n % 3 for n in range(40)]
    corrected = [1 - labels[0], *labels[1:]]
    for language, of_language in (("en", labels), ("fr", corrected), ("nah", labels[2:])):
        rows = [{"id": n, "premise": f"p{n}", "hypothesis": "h", "label": label} for n, label in enumerate(of_language)]
        task_report_write(tmp_path / f"{language}.test.jsonl", rows)
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
    options: dict[str, Any] = {"split": "test", "aligned": False, "limit": 3}
    read = [read_items("xnli", tmp_path, language=language, **options) for language in ("en", "fr")]
    assert {item.example_id.split(":")[0] for item in read[1].items} == {"fr"}
    assert not {item.example_id for item in read[0].items} & {item.example_id for item in read[1].items}
    assert len(read[0].rows) == len(read[0].items) == 3


def test_answers_of_tasks_with_their_own_candidates_are_positions(tmp_path: Path) -> None:
    rows = [
        {"id": n, "prompt": "<mask>", "candidates": [f"{n} {place}" for place in range(10)], "answer": gold}
        for n, gold in enumerate((9, 1, 1))
    ]
    task_report_write(tmp_path / "fr.test.jsonl", rows)
    (report,) = task_reports(tmp_path)
    assert list(report.rows[0].labels.items()) == [("candidate 2", 2), ("candidate 10", 1)]
    assert "task: facts" in report.recipe
    assert report.rows[0].chance == pytest.approx(0.1)
    assert task_reports(tmp_path / "none") == []
