"""Generated texts side by side: which items are chosen, and what the page shows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from catalog.report.exhibits import Group
from catalog.report.figures import EXAMPLES, FIGURES, Exhibit, run_exhibit
from catalog.report.page import render_page
from catalog.report.panels.answers import (
    MAX_CATEGORIES,
    MAX_FLIPPED_LANGUAGES,
    MAX_GENERATED_LANGUAGES,
    MAX_LENGTH,
    MAX_TEXT_LENGTH,
    accuracy_interval,
    category_panels,
    flipped_examples,
    generation_tables,
)
from catalog.report.query_results import Source
from catalog.store import Catalog
from mlprune.evaluation.scoring.translation import TRANSLATION_SCHEMA
from mlprune.numeric.statistics.proportions import effective_size, wilson_interval
from mlprune.store.records import identity
from mlprune.store.store import Store
from tests.catalog.report.reading import ATTACK, Reader
from tests.catalog.report.rows import TASK, drawn, texts
from tests.catalog_data import default_protocol, write_rows

(CATEGORIES,) = [exhibit for exhibit in FIGURES if exhibit.anchor == "categories"]
ROW: dict[str, Any] = {**TASK, "label": "wanda fr-en 0.5", "score": "wanda", "category": "city", "n": 10, "n_right": 6}
ROW |= {"n_dense_right": 8, "n_gained": 1, "n_lost": 3, "n_clusters": 10, "cluster_sizes": None}


def test_right_answers_of_a_category_are_those_of_its_items(catalog: Catalog) -> None:
    (source, sparsest) = run_exhibit(catalog, CATEGORIES)
    assert source.parameters["task"] == sparsest.parameters["task"] == "facts"
    answers = catalog.query(
        "FROM item_answers('facts', of_variant := $variant)", {"variant": source.parameters["variant_id"]}
    )
    dense = {
        (row["language"], row["example_id"]): row["is_right"]
        for row in catalog.query("FROM item_answers('facts', of_variant := 'dense')")
    }
    for row in source.rows:
        members = [a for a in answers if (a["language"], a["category"]) == (row["language"], row["category"])]
        before = [dense[one["language"], one["example_id"]] for one in members]
        assert (row["n"], row["n_right"]) == (len(members), sum(one["is_right"] for one in members))
        assert row["n_dense_right"] == sum(before)
        assert row["n_gained"] == sum(one["is_right"] and not was for one, was in zip(members, before, strict=True))
    assert {(row["language"], row["category"]) for row in source.rows} == {
        (language, category) for language in ("en", "es", "fr", "sw") for category in ("even", "odd")
    }


def test_the_second_variant_is_the_same_method_at_its_largest_sparsity(catalog: Catalog) -> None:
    ids = [source.parameters["variant_id"] for source in run_exhibit(catalog, CATEGORIES)]
    described = {row["variant_id"]: row for row in catalog.query("FROM internal.variant_descriptions")}
    best, sparsest = (described[one] for one in ids)
    assert best["method_id"] == sparsest["method_id"]
    assert best["sparsity"] < sparsest["sparsity"] == 0.5
    means = catalog.query(
        "SELECT variant_id, avg(value) AS mean FROM metrics WHERE metric = 'accuracy' AND split = 'dev' "
        "AND language <> 'en' AND variant_id IN (SELECT variant_id FROM variants WHERE sparsity > 0) GROUP BY ALL"
    )
    largest = max(row["mean"] for row in means)
    assert next(row["mean"] for row in means if row["variant_id"] == ids[0]) == pytest.approx(largest)


def test_items_of_one_cluster_widen_the_interval() -> None:
    alone = accuracy_interval(ROW, "n_right", "cluster_rights")
    assert alone == wilson_interval(6, 10)
    clustered = {**ROW, "n_clusters": 2, "cluster_sizes": [5, 5], "cluster_rights": [5, 1]}
    credit = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], dtype=float)
    size = effective_size(credit, np.repeat([0, 1], 5))
    together = accuracy_interval(clustered, "n_right", "cluster_rights")
    assert together == wilson_interval(0.6 * size, size)
    assert together.low < alone.low


def test_rows_state_their_items_and_the_gained_and_lost_ones() -> None:
    rows = [{**ROW, "category": f"relation {index}"} for index in range(MAX_CATEGORIES + 1)]
    (group,) = category_panels(rows)
    (panel,) = group.panels
    shown = texts(drawn(panel))
    assert "relation 0 (n = 10)" in shown
    assert shown.count("+1 −3") == MAX_CATEGORIES
    assert f"{MAX_CATEGORIES} of {MAX_CATEGORIES + 1} categories drawn" in panel.label


FLIPPED = EXAMPLES[0]
FLIPPED_ROW: dict[str, Any] = {**TASK, "label": "wanda fr-en 0.5", "score": "wanda", "change": "lost", "n_flipped": 25}
FLIPPED_ROW |= {
    "example_id": "city:FR",
    "category": "city",
    "question": "Où ?",
    "english_question": "Where?",
    "gold": "ici",
}
FLIPPED_ROW |= {"dense_chosen": "ici", "chosen": "là", "dense_margin": 0.2, "margin": -0.05}


def test_examples_are_the_items_whose_rightness_differs_those_with_the_largest_change_first(catalog: Catalog) -> None:
    source = run_exhibit(catalog, FLIPPED)[0]
    wanted = {"variant": source.parameters["variant_id"]}
    after = catalog.query("FROM item_answers('facts', of_language := 'fr', of_variant := $variant)", wanted)
    before = {
        row["example_id"]: row
        for row in catalog.query("FROM item_answers('facts', of_language := 'fr', of_variant := 'dense')")
    }
    lost = [row for row in after if before[row["example_id"]]["is_right"] and not row["is_right"]]
    changes = sorted((abs(row["margin"] - before[row["example_id"]]["margin"]) for row in lost), reverse=True)
    shown = [row for row in source.rows if (row["language"], row["change"]) == ("fr", "lost")]
    assert [abs(row["margin"] - row["dense_margin"]) for row in shown] == changes[:10]
    assert {row["n_flipped"] for row in shown} == {len(lost)}
    for row in shown:
        assert row["chosen"] == next(one["chosen"] for one in lost if one["example_id"] == row["example_id"])
        assert row["dense_chosen"] == before[row["example_id"]]["chosen"]


def test_a_list_says_how_many_examples_it_leaves_out_and_has_both_questions() -> None:
    rows = [FLIPPED_ROW, {**FLIPPED_ROW, "change": "gained", "n_flipped": 1, "question": "Q" * 2 * MAX_LENGTH}]
    (group,) = flipped_examples(rows)
    (listed,) = group.examples
    assert listed.title == "fr: 1 gained, 25 lost; the 2 with the largest changes of the margin are shown"
    first, second = listed.examples
    assert (first.question, first.english, first.before, first.after) == ("Où ?", "Where?", "ici", "là")
    assert first.margins == "+0.200 → −0.050"
    assert len(second.question) == MAX_LENGTH
    (english,) = flipped_examples([{**FLIPPED_ROW, "language": "en"}])
    assert english.examples[0].examples[0].english == ""


def test_of_many_languages_the_first_ones_are_listed() -> None:
    (group,) = flipped_examples(
        [{**FLIPPED_ROW, "language": f"l{index}"} for index in range(MAX_FLIPPED_LANGUAGES + 1)]
    )
    assert len(group.examples) == MAX_FLIPPED_LANGUAGES
    assert f"{MAX_FLIPPED_LANGUAGES} of {MAX_FLIPPED_LANGUAGES + 1} languages shown" in group.title


def test_an_attack_in_a_question_or_an_answer_is_shown_as_text(
    empty_catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ("question", "english_question", "gold", "dense_chosen", "chosen", "example_id", "category")
    row = {**FLIPPED_ROW, **dict.fromkeys(texts, ATTACK)}
    attacked = Source("flipped_answers", "SELECT 1", {}, tuple(row), (row,))

    def run(catalog: Catalog, exhibit: Exhibit) -> tuple[Source, ...]:
        return (attacked,) if exhibit == FLIPPED else run_exhibit(catalog, exhibit)

    monkeypatch.setattr("catalog.report.page.run_exhibit", run)
    reader = Reader(render_page(empty_catalog))
    assert "img" not in {element.tag for element in reader.elements}
    assert len(reader.find("script")) == 1
    (shown,) = reader.find("dd", section="flipped")
    assert shown.text.count(ATTACK) == 5


@pytest.mark.thorough("renders pages of its own")
def test_the_page_has_every_example_as_text(page: str, catalog: Catalog) -> None:
    sources = run_exhibit(catalog, FLIPPED)
    groups: list[Group] = [group for source in sources for group in flipped_examples(source.rows)]
    n_examples = sum(len(listed.examples) for group in groups for listed in group.examples)
    reader = Reader(page)
    assert len(reader.find("details", section="flipped", class_="examples")) == sum(len(g.examples) for g in groups)
    assert len(reader.find("dd", section="flipped")) == n_examples == sum(len(source.rows) for source in sources)


GENERATIONS = EXAMPLES[1]
N_ITEMS = 20
REFERENCE = "the cat sits on the mat"
GENERATIONS_ROW: dict[str, Any] = {
    "base_model": "tiny", "base_model_id": "b", "task": "translation", "split": "test", "scoring_rule": "greedy",
    "first_label": "wanda 0.3", "second_label": "wanda 0.5", "score": "wanda", "language": "fr-en", "n_items": 20,
    "n_changed": 7, "is_drawn": True, "example_id": "3", "category": "", "source": "le chat", "reference": "the cat",
    "dense_output": "the cat", "first_output": "the cat", "second_output": "a cat",
}  # fmt: skip


def output(item: int, sparsity: float) -> str:
    """The output of a model: worse for later items and larger sparsities."""
    return REFERENCE if sparsity == 0 or item < 5 else REFERENCE + "x" * round(10 * item * sparsity)


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """The catalog of a store with the translations of the dense model and of two variants."""
    store = Store(tmp_path_factory.mktemp("translated"))
    model = {"base_model_id": "@id", "source": "tiny", "family": "xglm", "n_blocks": 2, "hidden_size": 8}
    model_rows = {"base_models": [{**model, "n_prunable": 4096}]}
    base = write_rows(store, "base_models", parameters={}, rows=model_rows)
    for sparsity in (0.0, 0.3, 0.5):
        row = {"variant_id": "@id", "base_model_id": base, "sparsity": sparsity}
        row |= {"score": "magnitude", "structure": "row", "removes": "lowest"} if sparsity else {}
        rows = {"variants": [row]}
        variant = write_rows(store, "variants", parameters={"s": sparsity}, parents={"base": base}, rows=rows)
        _translate(store, variant, sparsity)
    with Catalog.in_memory(store) as catalog:
        yield catalog


def _translate(store: Store, variant: str, sparsity: float) -> None:
    parameters, parents = {"task": "translation", "language": "fr-en"}, {"variant": variant}
    evaluation = identity("evaluations", step_version=1, parameters=parameters, parents=parents)
    columns: dict[str, list[str]] = {
        "example_id": [str(item) for item in range(N_ITEMS)],
        "prompt": ["?"] * N_ITEMS,
        "output": [output(item, sparsity) for item in range(N_ITEMS)],
        "reference": [REFERENCE] * N_ITEMS,
        "cluster": [str(item) for item in range(N_ITEMS)],
        "category": [""] * N_ITEMS,
    }
    artefact = store.write_table(f"predictions/{evaluation}.parquet", columns, TRANSLATION_SCHEMA)
    keys = {"evaluation_id": evaluation, "variant_id": variant, "task": "translation", "language": "fr-en"}
    keys |= {"split": "test", "scoring_rule": "greedy"}
    metric = {**keys, "metric": "chrf", "value": 0.9 - sparsity, "n": N_ITEMS, "higher_is_better": True}
    rows = {"evaluations": [{**keys, "n_examples": N_ITEMS, **default_protocol("translation")}], "metrics": [metric]}
    write_rows(store, "evaluations", parameters=parameters, parents=parents, rows=rows, artefacts=[artefact])


@pytest.mark.thorough("renders pages of its own")
def test_eight_items_are_drawn_and_four_moved_furthest_from_the_reference(translated: Catalog) -> None:
    (source,) = run_exhibit(translated, GENERATIONS)
    drawn = [row for row in source.rows if row["is_drawn"]]
    moved = [row for row in source.rows if not row["is_drawn"]]
    assert (len(drawn), len(moved)) == (8, 4)
    assert {row["n_items"] for row in source.rows} == {N_ITEMS}
    assert {row["n_changed"] for row in source.rows} == {N_ITEMS - 5}
    rest = sorted({*range(N_ITEMS)} - {int(row["example_id"]) for row in drawn}, reverse=True)
    assert [int(row["example_id"]) for row in moved] == rest[:4]
    assert {row["first_label"] for row in source.rows} == {"magnitude 0.3"}
    for row in source.rows:
        item = int(row["example_id"])
        outputs = (row["dense_output"], row["first_output"], row["second_output"])
        assert outputs == tuple(output(item, sparsity) for sparsity in (0.0, 0.3, 0.5))
        assert row["reference"] == REFERENCE
    assert run_exhibit(translated, GENERATIONS)[0].rows == source.rows


@pytest.mark.thorough("renders pages of its own")
def test_the_page_shows_the_texts_side_by_side(translated: Catalog) -> None:
    reader = Reader(render_page(translated))
    headings = [element.text for element in reader.find("th", section="generations")][:6]
    assert headings == ["item", "source", "reference", "dense", "magnitude 0.3", "magnitude 0.5"]
    assert len(reader.find("details", section="generations", class_="examples texts")) == 1
    assert "15 of 20 outputs of magnitude 0.3 differ from dense" in reader.find("section", id="generations")[0].text


def test_a_table_marks_outputs_that_equal_those_of_dense_and_has_the_languages_of_its_texts() -> None:
    (group,) = generation_tables(
        [GENERATIONS_ROW, {**GENERATIONS_ROW, "is_drawn": False, "second_output": "Q" * 2 * MAX_TEXT_LENGTH}]
    )
    (table,) = group.texts
    assert table.columns == ("item", "source", "reference", "dense", "wanda 0.3", "wanda 0.5")
    first, second = table.rows
    assert [cell.language for cell in first] == ["", "fr", "en", "en", "en", "en"]
    assert [cell.is_same for cell in first] == [False, False, False, False, True, False]
    assert second[0].text == "3 · moved furthest"
    assert len(second[-1].text) == MAX_TEXT_LENGTH
    assert table.title.endswith("1 item drawn at random, 1 that moved furthest from the reference")
    (single,) = generation_tables([{**GENERATIONS_ROW, "second_label": None, "language": "sw"}])
    assert len(single.texts[0].columns) == 5


def test_of_many_languages_the_first_ones_are_shown() -> None:
    (group,) = generation_tables(
        [{**GENERATIONS_ROW, "language": f"l{index}-en"} for index in range(MAX_GENERATED_LANGUAGES + 1)]
    )
    assert len(group.texts) == MAX_GENERATED_LANGUAGES
    assert f"{MAX_GENERATED_LANGUAGES} of {MAX_GENERATED_LANGUAGES + 1} languages shown" in group.title


def test_an_attack_in_a_text_is_shown_as_text(empty_catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("source", "reference", "dense_output", "first_output", "second_output", "example_id", "first_label")
    row = {**GENERATIONS_ROW, **dict.fromkeys(names, ATTACK), "second_output": ATTACK + "!", "language": f"fr-{ATTACK}"}
    attacked = Source("generations", "SELECT 1", {}, tuple(row), (row,))

    def run(catalog: Catalog, exhibit: Exhibit) -> tuple[Source, ...]:
        return (attacked,) if exhibit == GENERATIONS else run_exhibit(catalog, exhibit)

    monkeypatch.setattr("catalog.report.page.run_exhibit", run)
    reader = Reader(render_page(empty_catalog))
    assert "img" not in {element.tag for element in reader.elements}
    assert len(reader.find("script")) == 1
    assert sum(ATTACK in cell.text for cell in reader.find("td", section="generations")) >= 5
