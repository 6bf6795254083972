"""Colours, shapes and names of methods: the same in every figure of a store, and different for any two methods."""

import re
from itertools import combinations, product
from typing import Any, get_args

import pytest

from catalog.report.exhibits import luminance
from catalog.report.panels.differences import difference_curves
from catalog.report.query_results import run_report_query, styles_by_text, styles_of_store
from catalog.report.styles import (
    BLUE,
    DARK,
    GREY,
    HUES,
    INK,
    KINDS,
    MAX_IN_LEGEND,
    METHOD,
    ORANGE,
    QUIET,
    SHAPES,
    WHITE,
    SeriesStyle,
    dark_rules,
    distinct_styles,
    first_styles,
    method_label,
    method_styles,
    on_page,
    short_names,
)
from catalog.store import Catalog
from infra.pages.frozen import thawed
from mlprune.methods import SCORES
from mlprune.vocabulary import DemonstrationKind, PropagationName
from tests.catalog.report.rows import POINT, drawn, texts

ONE = {"score": "wanda", "set_kind": "translation", "propagation": "sequential", "structure": "row"}
SEEN: dict[str, tuple[tuple[float, float, float], ...]] = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranopia": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
    "protanopia": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
}
"""Linear red, green and blue as readers see them (Vienot, Brettel and Mollon 1999)."""


@pytest.mark.parametrize(
    ("row", "label"),
    [
        (ONE, "wanda on translation, sequential propagation"),
        (ONE | {"structure": "2:4"}, "wanda on translation, sequential propagation, 2:4"),
        (ONE | {"score": "random", "set_kind": None, "propagation": None}, "random"),
        (ONE | {"score": None}, "dense"),
        (ONE | {"settings": "paper profile"}, "wanda on translation, sequential propagation, paper profile"),
        (
            ONE | {"score": "union", "set_kind": None, "settings": "union of a and b"},
            "sequential propagation, union of a and b",
        ),
        (ONE | {"score": None, "intervention": "self_translate"}, "self-translate"),
        (
            ONE | {"intervention": "vocabulary", "settings": "vocabulary, keeps fr"},
            "wanda on translation, sequential propagation, vocabulary, keeps fr",
        ),
    ],
)
def test_a_method_has_a_label(row: dict[str, object], label: str) -> None:
    assert method_label(row) == label


def method(**more: Any) -> dict[str, Any]:
    return {**ONE, "settings": None, **more}


def linear(colour: str) -> list[float]:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def lab(colour: str, seen_by: str) -> tuple[float, float, float]:
    """The colour in CIELAB as a reader sees it."""
    red, green, blue = (
        min(1.0, max(0.0, sum(part * value for part, value in zip(row, linear(colour), strict=True))))
        for row in SEEN[seen_by]
    )
    x, y, z = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116 for one in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("seen_by", SEEN)
@pytest.mark.parametrize("is_dark", [False, True])
def test_colours_of_marks_differ_for_readers_with_any_common_colour_vision(seen_by: str, *, is_dark: bool) -> None:
    hues = [DARK[hue] for hue in HUES] if is_dark else list(HUES)
    for one, other in combinations(hues, 2):
        pairs = zip(lab(one, seen_by), lab(other, seen_by), strict=True)
        assert sum((a - b) ** 2 for a, b in pairs) ** 0.5 > 20, (one, other)


@pytest.mark.parametrize("is_dark", [False, True])
def test_marks_and_texts_have_enough_contrast_to_a_light_and_a_dark_page(*, is_dark: bool) -> None:
    def contrast(colour: str) -> float:
        shown = DARK[colour] if is_dark else colour
        low, high = sorted((luminance(shown), luminance(DARK[WHITE] if is_dark else WHITE)))
        return (high + 0.05) / (low + 0.05)

    assert all(contrast(colour) >= 3 for colour in (*HUES, GREY))
    assert all(contrast(colour) >= 4.5 for colour in (INK, QUIET))


def test_a_colour_of_a_figure_changes_on_a_dark_screen_and_not_in_print() -> None:
    name = re.search(r"var\((--\w+),", on_page(BLUE))
    assert name
    assert f"{name[1]}: {DARK[BLUE]};" in dark_rules()
    assert dark_rules().startswith("@media screen")
    assert on_page("#123456") == "#123456"


@pytest.mark.parametrize("n_methods", [3, 40, 200])
def test_two_methods_of_a_store_never_have_the_same_mark(n_methods: int) -> None:
    every = product(SCORES, KINDS, get_args(PropagationName), ("row", "2:4"))
    rows = [dict(zip(METHOD, (*one, None), strict=True)) for one, _ in zip(every, range(n_methods), strict=False)]
    styles = method_styles(rows)
    assert len(set(styles.values())) == len(styles) == n_methods
    assert {style.marker for style in styles.values()} <= set(SHAPES)
    assert len(set(first_styles(range(n_methods)).values())) == n_methods


def test_kinds_of_demonstrations_and_random_pruning_have_their_colours_beside_others() -> None:
    rows = [
        method(settings="refined by dsnot"),
        method(),
        method(set_kind="monolingual"),
        method(score="random", set_kind=None, propagation=None),
    ]
    refined, *styles = method_styles(rows).values()
    assert [style.colour for style in styles] == [BLUE, ORANGE, GREY]
    assert refined not in styles


def test_of_two_propagations_the_sequential_one_keeps_the_usual_mark() -> None:
    dense, sequential = method_styles([method(propagation=name) for name in ("dense", "sequential")]).values()
    assert sequential == method_styles([method()])[tuple(method()[column] for column in METHOD)]
    assert dense.is_hollow
    assert dense.colour == sequential.colour


def test_the_kinds_of_demonstrations_have_marks() -> None:
    assert {kind for kind in KINDS if kind} == set(get_args(DemonstrationKind))


def test_a_short_name_leaves_out_what_all_methods_share() -> None:
    common = {"propagation": "dense", "set_kind": None}
    settings = ["mean over a + b, budget of 4000 tokens", "mean over a + b, budget of 4000 tokens, batch 2"]
    settings.append("refined by dsnot, mean over a + b, budget of 4000 tokens")
    rows = [method(**common, settings=text) for text in settings]
    rows += [method(score=None, propagation=None, settings=f"{bits} bits") for bits in (4, 8)]
    assert short_names(rows) == ["wanda", "wanda, batch 2", "wanda, refined by dsnot", "4 bits", "8 bits"]
    assert short_names([method(settings="refined by dsnot")]) == [
        "wanda on translation, sequential propagation, refined by dsnot"
    ]


def test_with_their_demonstrations_methods_have_one_colour_and_names_that_say_which() -> None:
    sets = [{**method(), "demonstration_label": label, "method": f"wanda {label}"} for label in ("fr-en", "sw-en")]
    assert short_names(sets, with_sets=True) == ["wanda fr-en", "wanda sw-en"]
    refined = {**sets[0], "settings": "refined by dsnot", "method": "wanda fr-en, refined by dsnot"}
    assert short_names([sets[0], refined], with_sets=True) == ["wanda", "wanda, refined by dsnot"]
    assert short_names([sets[0], {**sets[0], "method": "wanda fr-en #12"}], with_sets=True)[1] == "wanda fr-en #12"
    wanted = dict.fromkeys("abcdefgh", SeriesStyle(BLUE, "o"))
    styles = distinct_styles(wanted, keep_colours=True).values()
    assert len(set(styles)) == len(wanted)
    assert {style.colour for style in styles} == {BLUE}


def test_a_method_has_the_same_mark_in_every_query_of_a_store(catalog: Catalog) -> None:
    styles = styles_of_store(catalog)
    for query in ("difference_by_sparsity", "pareto", "sources_by_language", "first_curve"):
        rows = [row for row in run_report_query(catalog, query).rows if row["score"] is not None]
        assert rows
        assert all(row["style"] == styles[tuple(row[column] for column in METHOD)] for row in rows)
    assert len(set(styles_by_text(catalog).values())) == len(styles_by_text(catalog))


@pytest.mark.thorough("folds a frozen store")
def test_23_methods_have_23_marks_and_names_beside_them_instead_of_a_legend() -> None:
    with thawed("comparison-languages") as store, Catalog.in_memory(store) as catalog:
        rows = run_report_query(catalog, "difference_by_sparsity").rows
        assert len(set(styles_of_store(catalog).values())) == 23
        (group,) = difference_curves(rows)
    assert group.legend == ()
    assert {"4 bits", "wanda, refined by gram swaps", "magnitude, 2:4"} <= set(texts(drawn(group.panels[0])))


def test_from_eight_methods_on_names_are_in_the_figure() -> None:
    rows = [
        {**POINT, "settings": f"setting {'abcdefghij'[n]}", "difference": -n / 50} for n in range(MAX_IN_LEGEND + 1)
    ]
    (few,), (many,) = difference_curves(rows[:-1]), difference_curves(rows)
    assert len(few.legend) == MAX_IN_LEGEND + 1  # and dense
    assert many.legend == ()
    lines = [{**row, "sparsity": level / 10} for row in rows for level in range(1, 7)]
    for group in (many, next(difference_curves(lines))):
        shown = texts(drawn(group.panels[0]))
        assert len([text for text in shown if text.startswith("wanda on translation, setting")]) == len(rows)
