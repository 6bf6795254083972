"""The curve of a search that removes blocks one by one: its rows and its figure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.capabilities.search.panels import removal_panels
from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.report.rows import drawn
from tests.mlprune.capabilities.search.played_search import play, search_plan
from tests.mlprune.capabilities.search.test_one_by_one import DEPTH, share_of_right
from tests.tiny_recipes import copied_inputs


@pytest.fixture(scope="module")
def removed(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("curve"))
    store = Store(folder / "store")
    plan = search_plan(folder, DEPTH)
    store.write_record(plan.record)
    play(plan, store, share_of_right)
    with Catalog.in_memory(store) as catalog:
        yield catalog


def curve(catalog: Catalog, *parameters: str) -> list[dict[str, Any]]:
    return list(run_user_query(catalog, "removal_curve", parameters).as_dicts())


def test_each_language_has_a_value_after_every_removed_unit(removed: Catalog) -> None:
    rows = curve(removed, "metric=accuracy")
    points: list[tuple[tuple[int, ...], str | None]] = [((0, 0, 0), None), ((0, 1, 0), "1"), ((0, 1, 1), "2")]
    assert [(row["language"], row["n_removed"], row["unit"]) for row in rows] == [
        (language, n, unit) for language in ("en", "fr") for n, (_, unit) in enumerate(points)
    ]
    for row in rows:
        expected = share_of_right(points[row["n_removed"]][0], row["language"])
        assert row["value"] == pytest.approx(expected)
        assert row["loss"] == pytest.approx(share_of_right(None, row["language"]) - expected)
        assert (row["name"], row["split"]) == ("depth", "dev")
    assert [row["kept_share"] for row in rows[:3]] == pytest.approx([1, 2 / 3, 1 / 3])


def test_the_curve_is_drawn_with_a_line_per_language(removed: Catalog) -> None:
    (group,) = removal_panels(curve(removed))
    assert group.note == "Removed, in this order: 1, 2."
    assert [entry.label for entry in group.legend] == ["en", "fr"]
    assert "fr from 0.625 to 0.875" in group.panels[0].label
    assert all(drawn(panel) for panel in group.panels)


def test_perplexities_are_drawn_on_a_logarithmic_scale_and_other_metrics_are_not_drawn(removed: Catalog) -> None:
    rows = curve(removed, "metric=accuracy")
    (group,) = removal_panels([{**row, "metric": "perplexity", "value": 10 ** row["n_removed"]} for row in rows])
    assert drawn(group.panels[0])
    assert not list(removal_panels([{**row, "metric": "ece"} for row in rows]))


def test_a_store_without_such_a_search_has_no_curve(catalog: Catalog) -> None:
    assert not curve(catalog)
