"""Every published layout, built small: what is recognised, and the items that a task reads."""

import gzip
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import pyarrow as pa
import pytest

from mlprune.descriptions import TemplateTask
from mlprune.errors import TaskFileError
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.layouts.task_layouts import TASK_LAYOUTS, rows_at
from mlprune.evaluation.tasks.task import Task, template_task
from mlprune.evaluation.tasks.task_files import ItemSelection, TaskData, read_items
from tests.example_predictions import with_scores
from tests.published_data import PUBLISHED, WORDS, N, Published, csv_tabs, fact_row, json_lines, xcopa, xnli_archive
from tests.refusals import refused

MARK = b"\xef\xbb\xbf"
TEXT = {name: published for name, published in PUBLISHED.items() if published.is_text}
EVERY = pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED)


def crlf(data: bytes) -> bytes:
    return data if b"\r\n" in data else data.replace(b"\n", b"\r\n")


FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "mark": ("", lambda data: MARK + crlf(data)),
    "gzip": (".gz", lambda data: gzip.compress(MARK + data)),
    "zstd": (".zst", lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True))),
}


def read(path: Path, published: Published) -> dict[tuple[str, str], TaskData]:
    """(language, split) -> the items of the first task."""
    return {
        (language, split): read_items(published.tasks[0], path, ItemSelection(language, split))
        for language, splits in published.splits.items()
        for split in splits
    }


@pytest.mark.thorough("scores many texts or draws")
@EVERY
def test_a_published_layout_is_read_as_it_is(tmp_path: Path, published: Published) -> None:
    published.write(tmp_path)
    recognised = [layout for layout in TASK_LAYOUTS.values() if layout.recognises(tmp_path)]
    assert [layout.name for layout in recognised if not layout.is_other_reading] == [published.layout]
    layout = TASK_LAYOUTS[published.layout]
    assert layout.languages(tmp_path) == published.splits
    assert set(published.tasks) <= set(layout.tasks)
    for (language, split), data in read(tmp_path, published).items():
        ids = tuple(item.example_id for item in data.items)
        assert len(ids) == N
        if published.layout != "xnli_archive" or split == "dev":
            assert ids == tuple(name.format(language=language, split=split) for name in published.ids)
        assert Path(data.path).is_file()


def right_part(task: str, number: int) -> str:
    """A part of the text with the right candidate."""
    return {
        "xnli": ("Yes", "Also", "No")[number % 3],
        "paws_x": ("No", "Yes")[number % 2],
        "xcopa": ("un.", "deux.")[number % 2],
        "xstory_cloze": ("Un.", "Deux.")[number % 2],
        "marc_five": ("terrible", "bad", "okay", "good", "great")[number % 5],
        "belebele": f"? {number % 4 + 1}",
    }[task]


@pytest.mark.thorough("scores many texts or draws")
@EVERY
def test_the_right_candidate_is_the_published_one(tmp_path: Path, published: Published) -> None:
    published.write(tmp_path)
    for (language, _), data in read(tmp_path, published).items():
        for number, item in enumerate(data.items):
            is_choice = isinstance(item, ChoiceItem)
            right = item.texts[item.gold] if is_choice else f"{item.source} {item.reference}"
            if published.layout == "bmlama":
                assert right == f"{number} = {fact_row(language, number)[1]}."
            elif published.right is not None:
                assert published.right(language, number) in right
            elif published.layout == "mlama":
                assert right == f"{WORDS[language]} {number} = {number % 3} ."
            else:
                assert right_part(published.tasks[0], number) in right


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize(("name", "form"), zip(TEXT, cycle(FORMS), strict=False))
def test_marks_line_ends_and_compression_change_no_item(tmp_path: Path, name: str, form: str) -> None:
    published = TEXT[name]
    published.write(tmp_path / "plain")
    shutil.copytree(tmp_path / "plain", tmp_path / "other")
    ending, convert = FORMS[form]
    for path in [path for path in (tmp_path / "other").rglob("*.*") if path.is_file()]:
        data = path.read_bytes()
        path.unlink()
        path.with_name(path.name + ending).write_bytes(convert(data))
    (before, after) = (read(tmp_path / name, published) for name in ("plain", "other"))
    assert {key: (data.items, data.content_sha256) for key, data in before.items()} == {
        key: (data.items, data.content_sha256) for key, data in after.items()
    }


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize(("name", "kind"), zip(PUBLISHED, cycle(["zip", "gztar"]), strict=False))
def test_an_archive_is_read_without_unpacking_it(tmp_path: Path, name: str, kind: str) -> None:
    published = PUBLISHED[name]
    published.write(tmp_path / "plain")
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), kind, tmp_path / "plain"))
    (before, after) = (read(path, published) for path in (tmp_path / "plain", archive))
    assert [data.content_sha256 for data in before.values()] == [data.content_sha256 for data in after.values()]
    assert all(data.path.startswith(str(archive)) for data in after.values())


def test_incomplete_rows_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("paws-x", "bmlama", "mlama", "global-mmlu", "xquad"):
        PUBLISHED[name].write(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        data = [
            read_items("paws_x", tmp_path / "paws-x", ItemSelection("fr", "dev")),
            read_items("facts", tmp_path / "bmlama", ItemSelection("fr", "test")),
            read_items("facts", tmp_path / "mlama", ItemSelection("fr", "test")),
            read_items("global_mmlu", tmp_path / "global-mmlu", ItemSelection("en", "test")),
            read_items("xquad_spans", tmp_path / "xquad", ItemSelection("en", "test")),
        ]
    assert [dict(of_task.skipped) for of_task in data] == [
        {"no sentence or label": 3},
        {"a single candidate": 1},
        {},
        {"an empty question or option": 1},
        {"a paragraph with one answer": 1},
    ]
    texts = [record.getMessage() for record in caplog.records]
    assert texts == ["mlama/mlama1.1/fr/templates.jsonl: relations without a template or two objects skipped: P20, P30"]


def test_three_stars_are_dropped_by_marc_alone(tmp_path: Path) -> None:
    PUBLISHED["marc"].write(tmp_path)
    two, five = (read_items(task, tmp_path, ItemSelection("en", "dev")) for task in ("marc", "marc_five"))
    assert (len(two.items), len(five.items)) == (N - 1, N)
    assert two.content_sha256 == five.content_sha256


def test_a_task_decides_between_layouts_of_one_folder(tmp_path: Path) -> None:
    PUBLISHED["xnli-xtreme"].write(tmp_path / "xnli")
    PUBLISHED["paws-x-xtreme"].write(tmp_path / "pawsx")
    for task, folder in (("xnli", "xnli"), ("paws_x", "pawsx")):
        assert read_items(task, tmp_path, ItemSelection("fr", "dev")).path == str(tmp_path / folder / "dev-fr.tsv")


def test_a_table_of_paraphrases_is_not_one_of_inferences(tmp_path: Path) -> None:
    csv_tabs(tmp_path / "fr/dev.tsv", [["id", "sentence1", "sentence2", "label"], [1, "Un.", "Deux.", 1]])
    assert not [name for name, layout in TASK_LAYOUTS.items() if layout.recognises(tmp_path)]


def test_two_layouts_or_files_for_a_language_and_split_are_ambiguous(tmp_path: Path) -> None:
    xnli_archive(tmp_path)
    json_lines(tmp_path / "fr.test.jsonl", [{"id": 1, "premise": "p", "hypothesis": "h", "label": 0}])
    with refused(
        TaskFileError,
        got=[
            f"task_files: {tmp_path}/fr.test.jsonl",
            f"xnli_archive: {tmp_path}/XNLI-1.0/xnli.test.tsv",
        ],
    ) as caught:
        read_items("xnli", tmp_path, ItemSelection("fr", "test"))
    assert len(read_items("xnli", tmp_path, ItemSelection("fr", "dev")).items) == N
    PUBLISHED["bmlama"].write(tmp_path / "both")
    shutil.copytree(tmp_path / "both/BMLAMA17", tmp_path / "both/BMLAMA53")
    for call in (
        lambda: rows_at(tmp_path / "both", task="facts", language="fr", split="test"),
        lambda: TASK_LAYOUTS["bmlama"].rows(tmp_path / "both", "fr", "test"),
    ):
        with pytest.raises(TaskFileError) as caught:
            call()
        assert "BMLAMA53" in str(caught.value)


def test_questions_on_a_paragraph_share_its_different_answers_and_are_a_cluster(tmp_path: Path) -> None:
    for name in ("xquad", "xquad-hub"):
        PUBLISHED[name].write(tmp_path / name)
        items = read_items("xquad_spans", tmp_path / name, ItemSelection("zh", "test")).items
        assert [item.cluster for item in items] == ["50"] * 3 + ["53"] * 3
        assert [item.candidates for item in items[::3]] == [("a2", "a1"), ("a0", "a1", "a2")]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"data": [{}]}', '{"data": [{"paragraphs": [{"qas": [{"answers": []}]}]}]}']
)
def test_a_file_that_is_not_in_the_format_of_squad_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "xquad.en.json").write_text(text)
    with refused(TaskFileError, file=str(tmp_path / "xquad.en.json")):
        read_items("xquad_spans", tmp_path, ItemSelection("en", "test"))


def test_pairs_of_one_sentence_are_a_cluster_and_the_phenomenon_a_category(tmp_path: Path) -> None:
    PUBLISHED["multiblimp"].write(tmp_path)
    items = read_items("multiblimp", tmp_path, ItemSelection("fas", "test")).items
    assert [item.cluster for item in items] == [f"fa:{number // 2 * 2}" for number in range(N)]
    assert {item.category for item in items} == {"SV-#"}


def test_a_missing_language_or_split_names_the_ones_there_are(tmp_path: Path) -> None:
    xcopa(tmp_path)
    for language, split in (("en", "test"), ("sw", "train")):
        with refused(TaskFileError, expected="xcopa: dev in sw zh, test in sw zh", task="xcopa") as caught:
            read_items("xcopa", tmp_path, ItemSelection(language, split))
        context = caught.value.context
        assert context["expected"] == "xcopa: dev in sw zh, test in sw zh"
        assert (context["task"], context["language"], context["page"]) == ("xcopa", language, "docs/data.md")
    with refused(TaskFileError, language="en", expected="one file") as caught:
        TASK_LAYOUTS["xcopa"].rows(tmp_path, "en", "test")


def test_a_path_may_be_one_file_or_the_folder_of_one_language(tmp_path: Path) -> None:
    xnli_archive(tmp_path)
    file = tmp_path / "XNLI-1.0/xnli.dev.tsv"
    assert read_items("xnli", file, ItemSelection("zh", "dev")).path == str(file)
    PUBLISHED["paws-x"].write(tmp_path)
    assert len(read_items("paws_x", tmp_path / "x-final/fr", ItemSelection("fr", "train")).items) == N
    with refused(TaskFileError, got="a file, xnli.dev.tsv"):
        read_items("paws_x", file, ItemSelection("fr", "dev"))


def test_a_language_is_read_under_the_tag_that_it_has_in_parallel_text(tmp_path: Path) -> None:
    PUBLISHED["belebele"].write(tmp_path)
    for published, code in (("fra_Latn", "asm_Beng"), ("zho_Hans", "npi_Latn")):
        (tmp_path / f"Belebele/{published}.jsonl").rename(tmp_path / f"Belebele/{code}.jsonl")
    for language in ("asm_Beng", "as", "npi_Latn"):
        assert read_items("belebele", tmp_path, ItemSelection(language, "test")).items
    with refused(TaskFileError, language="ne", expected="belebele: test in asm-Beng ne-Latn"):
        read_items("belebele", tmp_path, ItemSelection("ne", "test"))


def test_a_task_of_a_recipe_reads_any_layout(tmp_path: Path) -> None:
    xcopa(tmp_path)
    assert len(rows_at(tmp_path, task="own", language="zho_Hans", split="dev").rows) == N


def test_a_wrong_row_names_task_language_split_file_and_example(tmp_path: Path) -> None:
    PUBLISHED["paws-x"].write(tmp_path)
    path = tmp_path / "x-final/fr/dev_2k.tsv"
    path.write_text(path.read_text() + "0\tencore\tencore\t1\n")
    with pytest.raises(TaskFileError) as caught:
        read_items("paws_x", tmp_path, ItemSelection("fr", "dev"))
    names = ("task", "language", "split", "file", "example")
    assert [caught.value.context[name] for name in names] == ["paws_x", "fr", "dev", str(path), 0]
    assert "line" not in caught.value.context


@pytest.mark.parametrize("data", [b"PK\x03\x04 cut", b""])
def test_a_damaged_archive_is_one_error(tmp_path: Path, data: bytes) -> None:
    for name in ("a.zip", "a.tar.gz"):
        (tmp_path / name).write_bytes(data)
        with refused(TaskFileError, language="fr", task="xnli"):
            read_items("xnli", tmp_path / name, ItemSelection("fr", "dev"))


N_ROWS = 300
N_CANDIDATES = 5
HEADER = ["Prompt", "Ans", "Candidate Ans", "Subject"]
OWN = template_task(TemplateTask(name="own", template="{prompt} {candidate}", answer="answer", candidates="candidates"))
"""A task of a recipe; the first of its candidates with equal scores is predicted."""


def write_facts(folder: Path, *rows: Sequence[object]) -> Path:
    for language in ("en", "zh"):
        listed = ", ".join(f"{language}{place}" for place in range(N_CANDIDATES))
        right = f"{language}{N_CANDIDATES - 1}"
        usual = [[f"{number} <mask>", right, listed, number] for number in range(N_ROWS)]
        csv_tabs(folder / f"{language}.tsv", [HEADER, *usual, *rows])
    return folder


def items(task: str | Task, folder: Path, language: str = "en") -> list[ChoiceItem]:
    read = read_items(task, folder, ItemSelection(language, "test")).items
    return [item for item in read if isinstance(item, ChoiceItem)]


def accuracy_if_all_tie(task: str | Task, choices: Sequence[ChoiceItem]) -> float:
    predictions = with_scores([[0.0] * len(item.candidates) for item in choices], [item.gold for item in choices])
    (metric,) = task_metrics(task, "en", names=("accuracy",))
    return float(metric.value(metric.statistics(predictions).sum(axis=0)))


def test_ties_and_places_say_nothing_about_the_right_candidate(tmp_path: Path) -> None:
    choices = items("facts", write_facts(tmp_path))
    places = Counter(item.gold for item in choices)
    assert set(places) == set(range(N_CANDIDATES))
    assert all(abs(n - N_ROWS / N_CANDIDATES) < 25 for n in places.values())
    assert accuracy_if_all_tie("facts", choices) == pytest.approx(1 / N_CANDIDATES)
    assert accuracy_if_all_tie(OWN, items(OWN, tmp_path)) == pytest.approx(1 / N_CANDIDATES, abs=0.08)


def test_a_candidate_has_one_index_in_all_languages(tmp_path: Path) -> None:
    write_facts(tmp_path)
    for english, chinese in zip(items("facts", tmp_path), items("facts", tmp_path, "zh"), strict=True):
        assert [name.replace("en", "zh") for name in english.candidates] == list(chinese.candidates)
        assert (english.gold, english.example_id) == (chinese.gold, chinese.example_id)


def test_quotes_of_the_table_are_not_part_of_a_candidate(tmp_path: Path) -> None:
    (item,) = items("facts", write_facts(tmp_path, ["x <mask>", 'פיפ"א', 'a, נאט"ו, פיפ"א', "x"]))[N_ROWS:]
    assert sorted(item.candidates) == sorted(["a", 'נאט"ו', 'פיפ"א'])
    assert item.candidates[item.gold] == 'פיפ"א'


@pytest.mark.parametrize("row", [["x <mask>", "c", "a, b", "x"], ["x <mask>", "b"]])
def test_a_wrong_fact_names_its_line(tmp_path: Path, row: list[str]) -> None:
    with refused(TaskFileError, line=N_ROWS + 2, file=str(tmp_path / "en.tsv")):
        items("facts", write_facts(tmp_path, row))


def test_facts_of_a_table_of_three_columns_is_read(tmp_path: Path) -> None:
    csv_tabs(tmp_path / "en.tsv", [HEADER[:3], ["x <mask>", "b", "a, b"]])
    (item,) = items("facts", tmp_path)
    assert item.candidates[item.gold].endswith("b")
