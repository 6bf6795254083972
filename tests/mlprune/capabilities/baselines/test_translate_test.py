"""Given translations: paired with the examples of a task, stored, evaluated, and compared by item."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from catalog.store import Catalog
from mlprune.capabilities.baselines.translate_test import GivenTranslationsJob, given_translations, paired_rows
from mlprune.errors import RecipeError, TaskFileError
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task_files import ItemSelection, TaskData, read_items
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.store.store import Store
from tests.tiny_recipes import copied_inputs, run_here, small_recipe, write_recipe

LABELS = ("entailment", "neutral", "contradiction")
GOLDS = (0, 1, 2, 2, 1, 0)
XNLI = TASKS["xnli"]
GIVEN: dict[str, Any] = {
    "name": "given",
    "kind": "translate_test",
    "system": "nllb",
    "translations": {"xnli": "xnli_mt/nllb"},
}
EVALUATION: dict[str, Any] = {"task": "xnli", "path": "xnli", "languages": ["en", "fr", "sw"]}


def row(language: str, n: int, *, gold: int | None = None) -> dict[str, Any]:
    label = LABELS[GOLDS[n] if gold is None else gold]
    return {"id": f"pair {n}", "premise": f"{n} {language}", "hypothesis": f'"{language}" {n}', "label": label}


def write_own(folder: Path, language: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Write a task file with ids of its own."""
    folder.mkdir(exist_ok=True)
    (folder / f"{language}.test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder


def write_published(folder: Path, language: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Write a file as pandas writes those of xnli_mt: numbered labels, quotes doubled, no ids."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"xnli.{language}.test.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["premise", "hypothesis", "label"])
        writer.writerows([one["premise"], one["hypothesis"], LABELS.index(one["label"])] for one in rows)
    return folder


def read(folder: Path, **options: Any) -> TaskData:
    return read_items(XNLI, folder, ItemSelection("fr", "test", **options))


@pytest.fixture
def folder(tmp_path: Path, tiny_inputs: Path) -> Path:
    """Tiny inputs, XNLI in three languages, and published translations of French and Swahili."""
    inputs = tmp_path / "inputs"
    copied_inputs(tiny_inputs, inputs)
    for language in ("en", "fr", "sw"):
        write_own(inputs / "xnli", language, [row(language, n) for n in range(6)])
    for language in ("fr", "sw"):
        write_published(inputs / "xnli_mt" / "nllb", language, [row(f"EN of {language}", n) for n in range(6)])
    return inputs


def plan_of(folder: Path, *baselines: dict[str, Any], **sections: Any) -> Plan:
    recipe = {**small_recipe(), "variants": [], "demonstrations": [], "evaluations": [EVALUATION]}
    return build_plan(parse_recipe({**recipe, "baselines": list(baselines), **sections}, folder=folder))


def test_published_translations_pair_by_their_place_and_own_files_by_id(tmp_path: Path) -> None:
    data = read(write_own(tmp_path / "fr", "fr", [row("fr", n) for n in range(6)]), limit=4)
    published = read(write_published(tmp_path / "mt", "fr", [row("EN", n) for n in range(6)]))
    shuffled = read(write_own(tmp_path / "own", "fr", [row("EN", n) for n in (3, 0, 5, 1, 4, 2)]))
    for given in (published, shuffled):
        translations = given_translations(XNLI, data, given)
        assert len(translations) == 2 * len(data.items)
        for item in data.items:
            n = int(item.example_id.removeprefix("pair "))
            assert translations[item.example_id, "premise", 0] == f"{n} EN"
            assert translations[item.example_id, "hypothesis", 0] == f'"EN" {n}'


STORY = {f"input_sentence_{n}": f"S{n}" for n in range(1, 5)} | {"sentence_quiz1": "A", "sentence_quiz2": "B"}
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "xcopa": (
        "test.fr.jsonl",
        {"premise": "P.", "choice1": "A", "choice2": "B", "question": "cause", "label": 1, "idx": 7},
    ),
    "paws_x": ("fr_test_2k.tsv", {"id": 7, "sentence1": "A", "sentence2": "B", "label": 1}),
    "xstory_cloze": (
        "spring2016.val.fr.tsv.split_20_80_eval.tsv",
        {"story_id": "7", **STORY, "answer_right_ending": 2},
    ),
}
"""Task -> name of a published file of translations, and a row of it."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_translations_of_other_tasks_are_read(name: str, tmp_path: Path) -> None:
    file_name, row = PUBLISHED[name]
    path = tmp_path / "nllb-200-3.3B" / file_name
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        if path.suffix == ".jsonl":
            file.write(json.dumps(row) + "\n")
        else:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows([list(row), list(row.values())])
    data = read_items(TASKS[name], path.parent, ItemSelection("fr", "test"))
    assert [item.example_id for item in data.items] == ["7"]


def test_equal_ids_with_other_right_answers_are_not_the_same_examples(tmp_path: Path) -> None:
    """Row numbers from 0 and ids from 1 overlap: the place decides."""
    numbered = [{**row("fr", n), "id": n + 1} for n in range(6)]
    data = read(write_own(tmp_path / "fr", "fr", numbered), limit=3)
    given = read(write_published(tmp_path / "mt", "fr", [row("EN", n) for n in range(6)]))
    rows = paired_rows(data, given)
    assert {name: paired["premise"] for name, paired in rows.items()} == {
        item.example_id: f"{int(item.example_id) - 1} EN" for item in data.items
    }


@pytest.mark.parametrize(
    "rows",
    [
        [row("EN", n) for n in range(5)],
        [row("EN", n, gold=(GOLDS[n] + 1) % 3) for n in range(6)],
    ],
    ids=["fewer rows", "other answers"],
)
def test_translations_of_other_examples_are_refused(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    data = read(write_own(tmp_path / "fr", "fr", [row("fr", n) for n in range(6)]))
    with pytest.raises(TaskFileError) as caught:
        paired_rows(data, read(write_published(tmp_path / "mt", "fr", rows)))
    assert caught.value.context["got"] == f"{len(rows)} rows for 6"


def test_an_example_with_a_blank_translation_stays_as_it_is(tmp_path: Path) -> None:
    data = read(write_own(tmp_path / "fr", "fr", [row("fr", n) for n in range(6)]))
    rows = [row("EN", n) if n != 2 else {**row("EN", n), "hypothesis": " "} for n in range(6)]
    translations = given_translations(XNLI, data, read(write_published(tmp_path / "mt", "fr", rows)))
    assert [key for key, text in translations.items() if not text] == [
        ("pair 2", "premise", 0),
        ("pair 2", "hypothesis", 0),
    ]


@pytest.mark.thorough("runs a model for every case")
def test_given_translations_are_evaluated_and_compared_by_item(folder: Path) -> None:
    recipe = {
        **small_recipe(),
        "variants": [{"name": "m", "score": "magnitude", "sparsity": 0.5, "against": ["given"]}],
        "demonstrations": [],
        "evaluations": [EVALUATION],
        "baselines": [GIVEN],
    }
    store = Store(folder / "store")
    plan = run_here(write_recipe(folder, recipe), store)
    jobs = {job.task.language: job for job in plan.jobs if isinstance(job, GivenTranslationsJob)}
    assert set(jobs) == {"fr", "sw"}
    table = store.read_table(store.require(*jobs["sw"].identity.key).artefacts[0])
    assert table["text"][:2] == ["0 sw", '"sw" 0']
    assert table["translation"][:2] == ["0 EN of sw", '"EN of sw" 0']
    with Catalog.open(store) as catalog:
        stored = catalog.query("SELECT system, base_model_id, n_texts, n_empty FROM self_translations")
        assert [tuple(one.values()) for one in stored] == [("nllb", None, 12, 0)] * 2
        compared = catalog.query(
            "SELECT language, n_items FROM internal.against_dense WHERE label LIKE 'translate-test%' "
            "AND metric = 'accuracy' AND group_kind = 'language' ORDER BY language"
        )
        assert [tuple(one.values()) for one in compared] == [("en", 6), ("fr", 6), ("sw", 6)]
        labels = catalog.query("SELECT label FROM described_variants WHERE intervention = 'translate_test'")
        assert "translate-test" in labels[0]["label"]


def test_where_nothing_is_translated_nothing_is_evaluated(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "xnli_mt" / "nllb" / "xnli.sw.test.tsv").unlink()
    plan = plan_of(folder, GIVEN)
    assert {job.task.language for job in plan.jobs if isinstance(job, GivenTranslationsJob)} == {"fr"}
    assert "given: no translations of xnli sw test" in caplog.text
    with pytest.raises(RecipeError):
        plan_of(folder, GIVEN, evaluations=[{**EVALUATION, "variants": ["given"]}])


@pytest.mark.parametrize(
    ("change", "evaluation"),
    [
        ({"translations": {"xcopa": "xnli_mt/nllb"}}, EVALUATION),
        ({"translations": {"xnli": "hub:some/unknown"}}, EVALUATION),
        ({}, {**EVALUATION, "languages": ["en"]}),
        ({}, {**EVALUATION, "longer": "skip"}),
        ({"translations": {"facts": "facts"}}, {"task": "facts", "path": "facts", "languages": ["fr"]}),
    ],
    ids=["not evaluated", "unknown data set", "English only", "long items", "whole texts"],
)
def test_a_baseline_without_meaning_is_refused_in_one_line(
    folder: Path, change: dict[str, Any], evaluation: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(folder, {**GIVEN, **change}, evaluations=[evaluation])
    assert "\n" not in str(caught.value)


def test_the_id_depends_on_the_system_and_on_what_it_wrote(folder: Path) -> None:
    def keys(plan: Plan, kind: str) -> set[tuple[str, str]]:
        return {key for job in plan.jobs for key in job.makes if key[0] == kind}

    first = plan_of(folder, GIVEN)
    other = plan_of(folder, {**GIVEN, "system": "other"})
    assert not keys(first, "self_translations") & keys(other, "self_translations")
    write_published(folder / "xnli_mt" / "new", "fr", [row("changed", n) for n in range(6)])
    write_published(folder / "xnli_mt" / "new", "sw", [row("EN of sw", n) for n in range(6)])
    changed = plan_of(folder, {**GIVEN, "translations": {"xnli": "xnli_mt/new"}})
    assert keys(first, "variants") == keys(changed, "variants")
    assert len(keys(first, "self_translations") & keys(changed, "self_translations")) == 1
