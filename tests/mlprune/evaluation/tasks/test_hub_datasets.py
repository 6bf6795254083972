"""Data sets of a hub as task files: every published data set with its rows, read through the client library."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mlprune.descriptions import CONVERTED, HubSet, TemplateTask
from mlprune.errors import RecipeError, TaskFileError
from mlprune.evaluation.tasks.hub_datasets import HubSource, hub_source, pinned
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.registry import HUB_SETS
from mlprune.evaluation.tasks.task import template_task
from mlprune.evaluation.tasks.task_files import ItemSelection, TaskData, read_items
from tests.hub import Hub, json_lines, serving, use_hub
from tests.refusals import refused

Row = dict[str, Any]
COPA = {"premise": "Il pleut.", "choice1": "Je sors.", "choice2": "Je reste.", "question": "effect", "label": 1}
STORY = {f"input_sentence_{n}": f"Phrase {n}." for n in range(1, 5)} | {
    "sentence_quiz1": "Oui.",
    "sentence_quiz2": "Non.",
}
QUESTION = {"flores_passage": "Un.", "question": "Qui ?", **{f"mc_answer{n}": f"R{n}" for n in range(1, 5)}}
LINK = "https://en.wikinews.org/wiki/A"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as server:
        use_hub(monkeypatch, server.url, tmp_path / "cache")
        pinned.cache_clear()
        yield server


def parquet(rows: list[Row]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def items_of(
    task: str, path: str, *, language: str, split: str = "test", known: dict[str, HubSet] | None = None
) -> TaskData:
    source = pinned(hub_source(path, known or HUB_SETS), (language,), split)
    return read_items(task, source, ItemSelection(language, split))


def ids(data: TaskData) -> list[str]:
    return [item.example_id for item in data.items]


def nli(n: int) -> list[Row]:
    return [{"premise": f"Prémisse {i}.", "hypothesis": f"Thèse {i}.", "label": i % 3} for i in range(n)]


def test_xnli_is_read_from_its_languages_folder_and_numbered_by_row(hub: Hub) -> None:
    files = {"fr/test-00000-of-00001.parquet": parquet(nli(4)), "fr/validation-00000-of-00001.parquet": parquet(nli(2))}
    commit = hub.push("facebook/xnli", {**files, "fr/train-00000-of-00001.parquet": b"large", "xnli.py": b"code"})
    data = items_of("xnli", "hub:facebook/xnli", language="fr")
    assert ids(data) == ["0", "1", "2", "3"]
    assert [item.gold for item in data.items] == [0, 1, 2, 0]
    assert data.path == f"facebook/xnli@{commit}/fr/test-00000-of-00001.parquet"
    assert len(ids(items_of("xnli", "hub:facebook/xnli", language="fr", split="dev"))) == 2
    assert hub.fetched() == ["fr/test-00000-of-00001.parquet", "fr/validation-00000-of-00001.parquet"]


def test_content_and_items_are_those_of_a_local_file_of_the_same_rows(hub: Hub, tmp_path: Path) -> None:
    hub.push("facebook/xnli", {"fr/test-00000-of-00001.parquet": parquet(nli(3))})
    (tmp_path / "fr.test.jsonl").write_bytes(json_lines([{"id": n, **row} for n, row in enumerate(nli(3))]))
    of_hub, local = (
        items_of("xnli", "hub:facebook/xnli", language="fr"),
        read_items("xnli", tmp_path, ItemSelection("fr", "test")),
    )
    assert (of_hub.items, of_hub.content_sha256, of_hub.lines) == (local.items, local.content_sha256, local.lines)


def test_shards_are_read_in_order_and_a_later_commit_has_other_content(hub: Hub) -> None:
    rows = nli(5)
    names = [f"fr/test-0000{n}-of-00002.parquet" for n in range(2)]
    first = hub.push("facebook/xnli", {names[1]: parquet(rows[3:]), names[0]: parquet(rows[:3])})
    assert len(items_of("xnli", "hub:facebook/xnli", language="fr").items) == 5
    before = items_of("xnli", f"hub:facebook/xnli@{first}", language="fr")
    assert [item.texts[0].partition(" , ")[0] for item in before.items] == [row["premise"] for row in rows]
    hub.push("facebook/xnli", {names[0]: parquet(rows[:3])})
    assert len(items_of("xnli", "hub:facebook/xnli", language="fr").items) == 5, "a process sees one commit"
    pinned.cache_clear()
    assert len(items_of("xnli", "hub:facebook/xnli", language="fr").items) == 3
    assert items_of("xnli", f"hub:facebook/xnli@{first}", language="fr") == before


def test_xcopa_and_paws_x_have_ids_of_their_own(hub: Hub) -> None:
    copa = [{**COPA, "idx": 7, "changed": False}, {**COPA, "idx": 3, "changed": True}]
    hub.push("cambridgeltl/xcopa", {"sw/validation-00000-of-00001.parquet": parquet(copa)})
    assert ids(items_of("xcopa", "hub:cambridgeltl/xcopa", language="sw", split="dev")) == ["7", "3"]
    pair = {"sentence1": "Un.", "sentence2": "Une.", "label": 1}
    rows = [{"id": 1, **pair}, {"id": 2, **pair, "sentence1": ""}, {"id": 3, **pair, "label": -1}, {"id": 4, **pair}]
    hub.push("google-research-datasets/paws-x", {"fr/test-00000-of-00001.parquet": parquet(rows)})
    data = items_of("paws_x", "hub:google-research-datasets/paws-x", language="fr")
    assert (ids(data), dict(data.skipped)) == (["1", "4"], {"no text or label": 2})


@pytest.mark.parametrize("file", ["sw/eval/0000.parquet", "sw/xstory_cloze-eval.parquet"])
def test_xstory_cloze_is_read_from_the_hubs_conversion(hub: Hub, file: str) -> None:
    rows = [{"story_id": f"s{n}", **STORY, "answer_right_ending": n} for n in (1, 2)]
    hub.push("juletxara/xstory_cloze", {file: parquet(rows)}, revision=CONVERTED)
    hub.push("juletxara/xstory_cloze", {"xstory_cloze.py": b"raise SystemExit"})
    data = items_of("xstory_cloze", "hub:juletxara/xstory_cloze", language="sw")
    assert (ids(data), [item.gold for item in data.items]) == (["s1", "s2"], [0, 1])


def test_japanese_xwinograd_has_another_name_and_languages_share_no_id(hub: Hub) -> None:
    row = {"sentence": "Le chat voit que _ dort.", "option1": "Paul", "option2": "Marc", "answer": "2"}
    files = {f"{config}/test/0000.parquet": parquet([row, row]) for config in ("jp", "fr")}
    hub.push("Muennighoff/xwinograd", files, revision=CONVERTED)
    ids_by_language = {
        language: ids(items_of("xwinograd", "hub:Muennighoff/xwinograd", language=language))
        for language in ("ja", "fr")
    }
    assert ids_by_language == {"ja": ["ja:0", "ja:1"], "fr": ["fr:0", "fr:1"]}


def test_exam_questions_are_read_under_codes_or_names_of_languages(hub: Hub) -> None:
    row = {"question": "1 + 1?", **{f"option_{letter}": letter for letter in "abcd"}}
    rows = [{"sample_id": f"maths/test/{n}", **row, "answer": "ABCD"[n]} for n in (2, 0)]
    hub.push("CohereLabs/Global-MMLU", {"sw/test-00000-of-00001.parquet": parquet(rows)})
    data = items_of("global_mmlu", "hub:CohereLabs/Global-MMLU", language="sw")
    assert (ids(data), [item.gold for item in data.items]) == (["maths/test/2", "maths/test/0"], [2, 0])
    hub.push("CohereLabs/include-base-44", {"North Macedonian/validation-0.parquet": parquet([{**row, "answer": 3}])})
    data = items_of("include", "hub:CohereLabs/include-base-44", language="mk", split="dev")
    assert (ids(data), [item.gold for item in data.items]) == (["mk:0"], [3])


def test_belebele_is_found_under_the_flores_code_and_its_ids_do_not_follow_the_rows(hub: Hub) -> None:
    rows = [{"link": LINK, "question_number": n, **QUESTION, "correct_answer_num": str(n)} for n in (1, 2)]
    hub.push(
        "facebook/belebele", {"data/swh_Latn.jsonl": json_lines(rows), "data/zho_Hans.jsonl": json_lines(rows[::-1])}
    )
    ids_by_language = {
        language: ids(items_of("belebele", "hub:facebook/belebele", language=language)) for language in ("sw", "zh")
    }
    assert ids_by_language == {"sw": [f"{LINK}#1", f"{LINK}#2"], "zh": [f"{LINK}#2", f"{LINK}#1"]}


def reviews(language: str) -> list[Row]:
    return [
        {"id": f"{language}_{n}", "text": f"Avis {n}", "label": n, "label_text": str(n + 1), "star": n}
        for n in range(5)
    ]


def test_marc_has_a_repository_per_language_and_labels_from_0(hub: Hub) -> None:
    name = "SetFit/amazon_reviews_multi_{config}"
    commits = [
        hub.push(name.format(config=language), {"validation.jsonl": json_lines(reviews(language))})
        for language in ("fr", "zh")
    ]
    source = pinned(hub_source(f"hub:{name}", HUB_SETS), ("fr", "zh"), "dev")
    assert source.repositories == tuple(
        (f"{name.format(config=language)}@main", commit) for language, commit in zip(("fr", "zh"), commits, strict=True)
    )
    for language, commit in zip(("fr", "zh"), commits, strict=True):
        data = read_items("marc_five", source, ItemSelection(language, "dev"))
        assert [item.gold for item in data.items] == [0, 1, 2, 3, 4]
        assert ids(data) == [f"{language}_{n}" for n in range(5)]
        assert data.path == f"{name.format(config=language)}@{commit}/validation.jsonl"
    assert len(ids(read_items("marc", source, ItemSelection("fr", "dev")))) == 4


def test_other_copies_of_marc_have_their_languages_in_folders(hub: Hub) -> None:
    hub.push("mteb/amazon_reviews_multi", {"fr/test.jsonl": json_lines(reviews("fr"))})
    hub.push("mteb/AmazonReviewsClassification", {"fr/test-00000-of-00001.parquet": parquet(reviews("fr"))})
    assert ids(items_of("marc_five", "hub:mteb/amazon_reviews_multi", language="fr"))[0] == "fr_0"
    assert ids(items_of("marc_five", "hub:mteb/AmazonReviewsClassification", language="fr"))[0] == "fr:0"


def test_a_label_without_a_mapping_is_refused(hub: Hub) -> None:
    described = HubSet(
        name="some/reviews", files=("{config}.jsonl",), columns=(("label", "star"),), labels=((0, 1), (1, 5))
    )
    hub.push("some/reviews", {"fr.jsonl": json_lines([{**reviews("fr")[n], "label": 9} for n in (1, 4)])})
    with refused(TaskFileError, language="fr", got=4) as caught:
        items_of("marc_five", "hub:some/reviews", language="fr", known={"some/reviews": described})
    context = caught.value.context
    assert (context["example"], context["expected"], context["got"]) == (1, ["0", "1"], 4)
    assert (context["task"], context["language"]) == ("marc_five", "fr")


def test_a_recipe_describes_other_data_sets(hub: Hub) -> None:
    described = HubSet(
        name="some/nli",
        files=("{split}/{config}.jsonl",),
        revision="v2",
        splits=(("test", "heldout"),),
        configs=(("zh-Hant", "tw"),),
        columns=(("premise", "a"), ("hypothesis", "b")),
        id=("doc", "n"),
        aligned=False,
    )
    rows = [{"a": "P.", "b": "H.", "label": "neutral", "doc": "d", "n": 5}]
    hub.push("some/nli", {"heldout/tw.jsonl": json_lines(rows)}, revision="v2")
    data = items_of("xnli", "hub:some/nli", language="zh-Hant", known={"some/nli": described})
    assert ids(data) == ["zh-Hant:d#5"]
    assert data.items[0].texts[0] == "P. , right?  Yes , H."  # type: ignore[union-attr]


def test_a_table_of_a_data_set_has_quotes_lists_and_positions(hub: Hub) -> None:
    described = HubSet(
        name="some/quiz", files=("{config}.tsv",), splits=(("test", "test"),), columns=(("q", 0), ("o", (1, 2, 3)))
    )
    hub.push("some/quiz", {"fr.tsv": b'Who?\tAnn\t"Bob ""B"" B."\t\n'})
    definition = template_task(
        TemplateTask(name="quiz", template="{q} {candidate}", answer="1", candidates="o", answer_as="text")
    )
    source = pinned(hub_source("hub:some/quiz", {"some/quiz": described}), ("fr",), "test")
    (item,) = read_items(definition, source, ItemSelection("fr", "test")).items
    assert isinstance(item, ChoiceItem)
    assert item.candidates == ("Ann", 'Bob "B" B.')


def test_mmmlu_is_a_table_under_the_name_of_a_locale(hub: Hub) -> None:
    table = ',Question,A,B,C,D,Answer,Subject\n0,"Q, ""q""?",x,y,z,u,C,anatomy\n'
    hub.push("openai/MMMLU", {"test/mmlu_SW-KE.csv": table.encode()})
    (item,) = items_of("mmmlu", "hub:openai/MMMLU", language="sw").items
    assert isinstance(item, ChoiceItem)
    assert item.texts[item.gold] == 'Q, "q"? z'


def test_questions_of_common_sense_have_published_answers_in_dev_alone(hub: Hub) -> None:
    question = {"stem": "Q?", "choices": {"label": ["A", "B"], "text": ["x", "y"]}}
    rows = [{"id": "7f", "lang": "jap", "question": question, "answerKey": key} for key in ("B", "")]
    names = [f"X-CSQA-jap/{split}-00000-of-00001.parquet" for split in ("validation", "test")]
    hub.push("INK-USC/xcsr", {name: parquet([row]) for name, row in zip(names, rows, strict=True)})
    (item,) = items_of("xcsqa", "hub:INK-USC/xcsr", language="ja", split="dev").items
    assert isinstance(item, ChoiceItem)
    assert (item.example_id, item.texts[item.gold]) == ("7f", "Q? y")
    with pytest.raises(TaskFileError, match="use dev"):
        items_of("xcsqa", "hub:INK-USC/xcsr", language="ja")


AFRICAN: list[tuple[str, str, str, str]] = [
    ("xnli", "masakhane/afrixnli", "premise\thypothesis\tlabel\nP.\tH.\t1\n", "P. , right?  Also , H."),
    (
        "afrimmlu",
        "masakhane/afrimmlu",
        "subject\tquestion\tchoices\tanswer\nanatomy\tQ?\t['x', 'y', 'z', 'u']\tC\n",
        "Q? z",
    ),
    (
        "masakhanews",
        "masakhane/masakhanews",
        'category\theadline\ttext\turl\nhealth\t"A ""b""."\tC.\tu\n',
        'A "b". C. The topic is health',
    ),
]


@pytest.mark.parametrize(("task", "name", "table", "text"), AFRICAN)
def test_african_sets_are_tables_under_codes_of_three_letters(
    hub: Hub, task: str, name: str, table: str, text: str
) -> None:
    hub.push(name, {"data/swa/test.tsv": table.encode()})
    (item,) = items_of(task, f"hub:{name}", language="sw").items
    assert isinstance(item, ChoiceItem)
    assert item.texts[item.gold] == text
    assert item.example_id == ("sw:0" if task == "masakhanews" else "0")


def test_mmlu_prox_has_up_to_ten_options_in_columns(hub: Hub) -> None:
    row = {"question_id": 7, "question": "Q?", "answer": "C", "category": "law"}
    options = {f"option_{place}": f"o{place}" if place < 3 else None for place in range(10)}
    for name in ("li-lab/MMLU-ProX", "li-lab/MMLU-ProX-Lite"):
        hub.push(name, {"sw/test-00000-of-00001.parquet": parquet([{**row, **options}])})
        (item,) = items_of("mmlu_prox", f"hub:{name}", language="sw").items
        assert isinstance(item, ChoiceItem)
        assert (item.example_id, item.texts, item.gold) == ("7", ("Q? o0", "Q? o1", "Q? o2"), 2)


def test_global_piqa_has_codes_with_regions(hub: Hub) -> None:
    table = "prompt\tsolution0\tsolution1\tlabel\texample_id\nP\ta\tb\t1\tx-1\n"
    hub.push("mrlbenchmarks/global-piqa-nonparallel", {"data/nonparallel_fra_latn_cana.tsv": table.encode()})
    (item,) = items_of("global_piqa", "hub:mrlbenchmarks/global-piqa-nonparallel", language="fr-CA").items
    assert isinstance(item, ChoiceItem)
    assert (item.example_id, item.texts[item.gold]) == ("fr-CA:x-1", "P b")


@pytest.mark.parametrize(
    ("path", "language", "split", "words"),
    [
        ("hub:facebook/xnli", "fr", "holdout", ["no such split", "'dev', 'test'", "holdout"]),
        ("hub:facebook/xnli", "sw", "test", ["no such files", "sw/test-*.parquet", "swh_Latn/test-*.parquet"]),
        ("hub:facebook/xnli@v9", "fr", "test", ["data set could not be fetched", "v9", "no such revision"]),
        ("hub:cambridgeltl/xcopa", "fr", "test", ["other columns", "idx", "premise"]),
        ("hub:facebook/belebele", "fr", "test", ["line is not JSON", "fra_Latn.jsonl"]),
    ],
)
def test_unreadable_data_give_an_error_of_one_line(
    hub: Hub, path: str, language: str, split: str, words: list[str]
) -> None:
    hub.push("facebook/xnli", {"fr/test-00000-of-00001.parquet": parquet(nli(1))})
    hub.push("cambridgeltl/xcopa", {"fr/test-00000-of-00001.parquet": parquet([COPA])})
    hub.push("facebook/belebele", {"data/fra_Latn.jsonl": b"no json\n"})
    with pytest.raises(TaskFileError) as caught:
        items_of("xnli", path, language=language, split=split)
    assert [word for word in words if word not in str(caught.value)] == []


def test_the_error_for_a_wrong_row_names_its_file_and_line(hub: Hub) -> None:
    commit = hub.push("facebook/xnli", {"fr/test-0.parquet": parquet([*nli(2), {**nli(1)[0], "label": 7}])})
    with refused(TaskFileError, file=f"facebook/xnli@{commit}/fr/test-0.parquet", line=3):
        items_of("xnli", "hub:facebook/xnli", language="fr")


def test_the_error_for_an_unknown_data_set_lists_the_known_ones() -> None:
    with refused(RecipeError, got="some/other", expected=sorted(HUB_SETS)):
        hub_source("hub:some/other@v1", HUB_SETS)


@pytest.mark.parametrize("pattern", ["load.py", "{language}/*.parquet", "{config}/{split}.xml", "{config.name}.jsonl"])
def test_only_tables_are_fetched_and_only_known_placeholders_filled(pattern: str) -> None:
    with pytest.raises(ValidationError, match="wrong files"):
        HubSet(name="some/set", files=(pattern,))
    with pytest.raises(ValidationError, match="wrong name"):
        HubSet(name="some/set-{split}", files=("{config}.jsonl",))


def test_a_path_may_name_a_revision() -> None:
    xnli = HUB_SETS["facebook/xnli"]
    assert hub_source("hub:facebook/xnli", HUB_SETS) == HubSource(xnli, "main")
    assert hub_source("hub:facebook/xnli@refs/pr/3", HUB_SETS) == HubSource(xnli, "refs/pr/3")
    assert str(hub_source("hub:juletxara/xstory_cloze", HUB_SETS)) == f"juletxara/xstory_cloze@{CONVERTED}"


@pytest.mark.network
@pytest.mark.parametrize("name", HUB_SETS)
def test_published_data_sets_fit_their_records(name: str) -> None:
    task = {"xnli": "xnli", "xcopa": "xcopa", "paws-x": "paws_x", "xwinograd": "xwinograd", "belebele": "belebele"}
    task |= dict.fromkeys(
        ("amazon_reviews_multi", "amazon_reviews_multi_{config}", "AmazonReviewsClassification"), "marc"
    )
    task |= {"Global-MMLU": "global_mmlu", "include-base-44": "include", "afrixnli": "xnli"}
    task |= {"MMLU-ProX": "mmlu_prox", "MMLU-ProX-Lite": "mmlu_prox", "global-piqa-nonparallel": "global_piqa"}
    task |= {"global-piqa-parallel": "global_piqa_parallel", "MMMLU": "mmmlu", "xcsr": "xcsqa"}
    task |= {name: name for name in ("afrimmlu", "masakhanews", "m_hellaswag")}
    language = "sw" if name in ("cambridgeltl/xcopa", "juletxara/xstory_cloze") else "fr"
    language = "fr-FR" if "piqa" in name else language
    data = items_of(task.get(name.partition("/")[2], "xstory_cloze"), f"hub:{name}", language=language)
    assert len(data.items) >= 80
