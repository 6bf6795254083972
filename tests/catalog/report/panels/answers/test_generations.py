"""Generated texts side by side: which items are chosen, and what the page shows."""

from collections.abc import Iterator
from typing import Any

import pytest

from catalog.report.drawing.exhibits import Exhibit
from catalog.report.exhibit_sources import run_exhibit
from catalog.report.page import render_page
from catalog.report.panels.answers.generations import MAX_LANGUAGES, MAX_LENGTH, generation_tables
from catalog.report.query_results import Source
from catalog.report.report_examples import EXAMPLES
from catalog.store import Catalog
from mlprune.evaluation.scoring.translation import TRANSLATION_SCHEMA
from mlprune.store.records import identity
from mlprune.store.store import Store
from tests.catalog.report.reading import ATTACK, Reader
from tests.catalog_data import default_protocol, write_rows

GENERATIONS = EXAMPLES[1]
N_ITEMS = 20
REFERENCE = "the cat sits on the mat"
ROW: dict[str, Any] = {
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


def test_the_page_shows_the_texts_side_by_side(translated: Catalog) -> None:
    reader = Reader(render_page(translated))
    headings = [element.text for element in reader.find("th", section="generations")][:6]
    assert headings == ["item", "source", "reference", "dense", "magnitude 0.3", "magnitude 0.5"]
    assert len(reader.find("details", section="generations", class_="examples texts")) == 1
    assert "15 of 20 outputs of magnitude 0.3 differ from dense" in reader.find("section", id="generations")[0].text


def test_a_table_marks_outputs_that_equal_those_of_dense_and_has_the_languages_of_its_texts() -> None:
    (group,) = generation_tables([ROW, {**ROW, "is_drawn": False, "second_output": "Q" * 2 * MAX_LENGTH}])
    (table,) = group.texts
    assert table.columns == ("item", "source", "reference", "dense", "wanda 0.3", "wanda 0.5")
    first, second = table.rows
    assert [cell.language for cell in first] == ["", "fr", "en", "en", "en", "en"]
    assert [cell.is_same for cell in first] == [False, False, False, False, True, False]
    assert second[0].text == "3 · moved furthest"
    assert len(second[-1].text) == MAX_LENGTH
    assert table.title.endswith("1 item drawn at random, 1 that moved furthest from the reference")
    (single,) = generation_tables([{**ROW, "second_label": None, "language": "sw"}])
    assert len(single.texts[0].columns) == 5


def test_of_many_languages_the_first_ones_are_shown() -> None:
    (group,) = generation_tables([{**ROW, "language": f"l{index}-en"} for index in range(MAX_LANGUAGES + 1)])
    assert len(group.texts) == MAX_LANGUAGES
    assert f"{MAX_LANGUAGES} of {MAX_LANGUAGES + 1} languages shown" in group.title


def test_an_attack_in_a_text_is_shown_as_text(empty_catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("source", "reference", "dense_output", "first_output", "second_output", "example_id", "first_label")
    row = {**ROW, **dict.fromkeys(names, ATTACK), "second_output": ATTACK + "!", "language": f"fr-{ATTACK}"}
    attacked = Source("generations", "SELECT 1", {}, tuple(row), (row,))

    def run(catalog: Catalog, exhibit: Exhibit) -> tuple[Source, ...]:
        return (attacked,) if exhibit == GENERATIONS else run_exhibit(catalog, exhibit)

    monkeypatch.setattr("catalog.report.page.run_exhibit", run)
    reader = Reader(render_page(empty_catalog))
    assert "img" not in {element.tag for element in reader.elements}
    assert len(reader.find("script")) == 1
    assert sum(ATTACK in cell.text for cell in reader.find("td", section="generations")) >= 5
