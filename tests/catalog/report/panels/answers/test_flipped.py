from typing import Any

import pytest

from catalog.report.drawing.exhibits import Exhibit, Group
from catalog.report.exhibit_sources import run_exhibit
from catalog.report.page import render_page
from catalog.report.panels.answers.flipped import MAX_LANGUAGES, MAX_LENGTH, flipped_examples
from catalog.report.query_results import Source
from catalog.report.report_examples import EXAMPLES
from catalog.store import Catalog
from tests.catalog.report.reading import ATTACK, Reader
from tests.catalog.report.rows import TASK

FLIPPED = EXAMPLES[0]
ROW: dict[str, Any] = {**TASK, "label": "wanda fr-en 0.5", "score": "wanda", "change": "lost", "n_flipped": 25}
ROW |= {"example_id": "city:FR", "category": "city", "question": "Où ?", "english_question": "Where?", "gold": "ici"}
ROW |= {"dense_chosen": "ici", "chosen": "là", "dense_margin": 0.2, "margin": -0.05}


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
    rows = [ROW, {**ROW, "change": "gained", "n_flipped": 1, "question": "Q" * 2 * MAX_LENGTH}]
    (group,) = flipped_examples(rows)
    (listed,) = group.examples
    assert listed.title == "fr: 1 gained, 25 lost; the 2 with the largest changes of the margin are shown"
    first, second = listed.examples
    assert (first.question, first.english, first.before, first.after) == ("Où ?", "Where?", "ici", "là")
    assert first.margins == "+0.200 → −0.050"
    assert len(second.question) == MAX_LENGTH
    (english,) = flipped_examples([{**ROW, "language": "en"}])
    assert english.examples[0].examples[0].english == ""


def test_of_many_languages_the_first_ones_are_listed() -> None:
    (group,) = flipped_examples([{**ROW, "language": f"l{index}"} for index in range(MAX_LANGUAGES + 1)])
    assert len(group.examples) == MAX_LANGUAGES
    assert f"{MAX_LANGUAGES} of {MAX_LANGUAGES + 1} languages shown" in group.title


def test_an_attack_in_a_question_or_an_answer_is_shown_as_text(
    empty_catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ("question", "english_question", "gold", "dense_chosen", "chosen", "example_id", "category")
    row = {**ROW, **dict.fromkeys(texts, ATTACK)}
    attacked = Source("flipped_answers", "SELECT 1", {}, tuple(row), (row,))

    def run(catalog: Catalog, exhibit: Exhibit) -> tuple[Source, ...]:
        return (attacked,) if exhibit == FLIPPED else run_exhibit(catalog, exhibit)

    monkeypatch.setattr("catalog.report.page.run_exhibit", run)
    reader = Reader(render_page(empty_catalog))
    assert "img" not in {element.tag for element in reader.elements}
    assert len(reader.find("script")) == 1
    (shown,) = reader.find("dd", section="flipped")
    assert shown.text.count(ATTACK) == 5


def test_the_page_has_every_example_as_text(page: str, catalog: Catalog) -> None:
    sources = run_exhibit(catalog, FLIPPED)
    groups: list[Group] = [group for source in sources for group in flipped_examples(source.rows)]
    n_examples = sum(len(listed.examples) for group in groups for listed in group.examples)
    reader = Reader(page)
    assert len(reader.find("details", section="flipped", class_="examples")) == sum(len(g.examples) for g in groups)
    assert len(reader.find("dd", section="flipped")) == n_examples == sum(len(source.rows) for source in sources)
