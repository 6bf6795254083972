"""Figures of experts: their use by language, how even it is, and their overlap."""

from typing import Any

from catalog.capabilities.experts.panels import (
    ENTROPIES,
    MAX_BLOCKS,
    MAX_EXPERTS,
    MAX_PAIRS,
    entropy_panels,
    overlap_panels,
    use_panels,
)
from catalog.report.figures import FIGURES, run_exhibit
from catalog.store import Catalog
from tests.catalog.report.rows import grid

QUERIES = ("experts_by_language", "expert_overlaps", "routing_entropy_by_language")
MODEL = {"base_model": "tiny", "base_model_id": "m"}
PAIR: dict[str, Any] = {**MODEL, "share": 0.25, "n_top": 2, "by_chance": 0.18, "kind": "monolingual", "seed": 0}
PAIR |= {"dtype": "float32", "target_language": None, "language_a": "en"}


def used(language: str, block: int, expert: int, frequency: float) -> dict[str, Any]:
    return {**MODEL, "language": language, "block": block, "expert": expert, "frequency": frequency}


def test_each_language_has_a_heat_map_on_one_scale_with_english_first() -> None:
    rows = [used(language, 1, expert, 0.4 * (expert + 1)) for language in ("ar", "en") for expert in (0, 1)]
    (group,) = use_panels([*rows, used("ar", 0, 1, 0.1)])
    english, arabic = map(grid, group.panels)
    assert (english.title, arabic.title) == ("en", "ar")
    assert english.rows == arabic.rows == ("0", "1")
    assert english.values == {(1, 0): 0.4, (1, 1): 0.8}
    assert english.scale == arabic.scale
    assert english.scale.high == 0.8
    assert "to 0.800 in block 1, expert 1" in arabic.label


def test_of_many_blocks_and_experts_an_even_selection_is_drawn() -> None:
    rows = [used("en", block, expert, 0.1) for block in range(48) for expert in range(128)]
    (group,) = use_panels(rows)
    assert len(grid(group.panels[0]).rows) == MAX_BLOCKS
    assert len(grid(group.panels[0]).columns) == MAX_EXPERTS
    assert "24 of 48 blocks drawn" in group.title
    assert "32 of 128 experts drawn" in group.title


def test_pairs_of_languages_are_rows_and_significant_differences_have_a_star() -> None:
    rows = [{**PAIR, "language_b": "sw", "block": block, "jaccard": 1 / 3, "p_value": 0.01 * block} for block in (1, 9)]
    (group,) = overlap_panels([*rows, {**rows[0], "kind": "translation", "language_b": "fr", "target_language": "de"}])
    overlaps = grid(group.panels[0])
    assert overlaps.rows == ("en, sw", "en, fr · translation to de")
    assert overlaps.columns == ("1", "9")
    assert overlaps.texts == {(0, 0): "0.33*", (0, 1): "0.33", (1, 0): "0.33*"}
    assert "by chance 0.18" in overlaps.title
    many = [{**rows[0], "language_b": f"l{number}"} for number in range(60)]
    (group,) = overlap_panels(many)
    assert len(grid(group.panels[0]).rows) == MAX_PAIRS


def entropies(language: str, block: int, **changes: Any) -> dict[str, Any]:
    row = {**MODEL, "dtype": "float32", "language": language, "block": block, "routing_entropy_id": language}
    row |= {"role": "source", "kind": "monolingual", "target_language": None, "seed": 0}
    for number, column in enumerate(ENTROPIES):
        row |= {column: 0.9 - 0.1 * number, f"{column}_ci_low": 0.2, f"{column}_ci_high": 0.95}
    return {**row, **changes}


def test_each_entropy_has_a_panel_with_a_line_per_language() -> None:
    rows = [entropies(language, block) for language in ("en", "he") for block in (0, 1)]
    (group,) = entropy_panels(rows)
    assert [entry.label for entry in group.legend] == ["en", "he"]
    assert len(group.panels) == len(ENTROPIES)
    assert "en from 0.900 to 0.900" in group.panels[0].label


def test_sets_of_one_language_are_told_apart_and_unknown_routers_are_left_out() -> None:
    unknown = dict.fromkeys(("entropy_of_mean", "mean_entropy"))
    other = {"routing_entropy_id": "other", "kind": "translation", "role": "target", "seed": 1, **unknown}
    (group,) = entropy_panels([entropies("he", 0), entropies("he", 0, **other)])
    first, second = (entry.label for entry in group.legend)
    assert (first, second) == ("he · monolingual · source · seed 0", "he · translation · target · seed 1")
    assert second in group.panels[2].label
    assert second not in group.panels[0].label
    (group,) = entropy_panels([entropies("he", 0, **unknown)])
    assert len(group.panels) == 1


def test_queries_give_what_the_panels_draw(catalog: Catalog) -> None:
    exhibits = [one for one in FIGURES if one.query in QUERIES]
    for exhibit in exhibits:
        rows = [row for source in run_exhibit(catalog, exhibit) for row in source.rows]
        assert rows
        assert exhibit.draw is not None
        assert all(group.panels for group in exhibit.draw(rows))
    assert {exhibit.query for exhibit in exhibits} == set(QUERIES)
