"""The figure of page one: which variants it shows, as dots or lines, and what it says about them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from matplotlib.figure import Figure

from catalog.report.first_figure import (
    MAX_METHODS,
    MAX_VARIANTS,
    FirstFigure,
    Series,
    first_figure,
    method_series,
    named_series,
)
from catalog.report.query_results import Source, run_report_query, styles_by_text
from catalog.report.styles import BLUE, MAX_IN_LEGEND, SHAPES, SeriesStyle
from catalog.report.svg import drawing
from catalog.store import Catalog
from tests.catalog.report.rows import drawn, texts
from tests.catalog.report.test_marks import cut_texts

STYLES = [SeriesStyle(BLUE, shape, is_hollow) for is_hollow in (False, True) for shape in SHAPES]
METHOD: dict[str, Any] = {"base_model": "tiny", "task": "facts", "split": "test", "metric": "accuracy", "chance": 0.2}
METHOD |= {"scale": "difference", "score": "wanda", "set_kind": "translation", "propagation": "dense"}
METHOD |= {"structure": "row", "intervention": None, "estimate": "3 seeds", "n_variants": 3, "chance": 0.2}


def a_row(name: str, value: float, *, sparsity: float = 0.4, language: str = "outside_english", **more: Any) -> Any:
    row = METHOD | {"method": f"wanda {name}, budget of 10", "demonstration_label": name, "settings": "budget of 10"}
    row |= {"language": language, "sparsity": sparsity, "value": value, "low": 0.9 * value, "high": 1.1 * value}
    return row | {"dense_value": 1.0 if language == "en" else 0.5} | more


def perplexity(name: str, value: float, **more: Any) -> Any:
    ratio = {"task": "perplexity", "metric": "perplexity", "scale": "log_ratio", "chance": None, "dense_value": 1.0}
    return a_row(name, value, **ratio, **more)


def figure_of(rows: list[dict[str, Any]]) -> FirstFigure:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = first_figure(rows, rows, styles=dict(zip(methods, STYLES, strict=False)))
    assert figure is not None
    return figure


def on_axes(figure: FirstFigure) -> Any:
    with drawing():
        axes = Figure().subplots()
        figure.panel.draw(axes)
    return axes


def names_of(axes: Any) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def curve_and_named(catalog: Catalog) -> tuple[Source, Source]:
    curve = run_report_query(catalog, "first_curve")
    columns = ("base_model_id", "task", "split", "metric", "scoring_rule", "protocol", "example_limit")
    parameters = {column: curve.rows[0][column] for column in columns}
    return curve, run_report_query(catalog, "first_variants", parameters=parameters)


def test_the_figure_shows_the_variants_that_the_primary_questions_name(catalog: Catalog) -> None:
    curve, named = curve_and_named(catalog)
    sql = (
        "SELECT DISTINCT v.method FROM questions AS q JOIN question_variants AS x USING (question_id) "
        "JOIN described_variants AS v ON v.variant_id IN (x.variant_id, x.baseline_id) "
        "WHERE q.is_primary AND q.task = $task AND q.metric = $metric AND NOT v.is_dense"
    )
    asked = {row["method"] for row in catalog.query(sql, {key: curve.rows[0][key] for key in ("task", "metric")})}
    assert {row["method"] for row in named.rows} == asked
    assert len(asked) < len({row["method"] for row in catalog.query("SELECT method FROM described_variants")})
    figure = first_figure(curve.rows, named.rows, styles=styles_by_text(catalog))
    assert figure is not None
    assert " on test " in figure.title
    assert len(figure.panel.label.split("; ")) == min(len(asked), MAX_VARIANTS) > 1


def test_values_and_intervals_are_those_of_the_differences_of_methods(catalog: Catalog) -> None:
    _, named = curve_and_named(catalog)
    for row in (row for row in named.rows if row["language"] == "outside_english"):
        sql = (
            "SELECT dense_value, difference, ci_low, ci_high FROM internal.method_differences WHERE group_kind = "
            "'outside_english' AND method = $method AND sparsity = $sparsity AND task = $task AND split = $split "
            "AND metric = $metric"
        )
        (known,) = catalog.query(sql, {key: row[key] for key in ("method", "sparsity", "task", "split", "metric")})
        assert row["value"] == pytest.approx(known["dense_value"] + known["difference"])
        ends = [None if known[end] is None else known["dense_value"] + known[end] for end in ("ci_low", "ci_high")]
        assert [row["low"], row["high"]] == pytest.approx(ends)


def test_a_store_whose_questions_name_nothing_shows_its_methods(catalog: Catalog) -> None:
    curve, _ = curve_and_named(catalog)
    figure = first_figure(curve.rows, [], styles={})
    assert figure is not None
    assert 1 < len(figure.legend) <= MAX_METHODS
    assert "random" in [entry.label.partition(" (")[0] for entry in figure.legend]
    assert figure.note.endswith("A mean over several variants has none.")
    assert first_figure([], [], styles={}) is None


def test_of_one_sparsity_dots_are_sorted_and_a_ratio_has_logarithms_and_the_dense_model() -> None:
    values = {"fr-en": 3.0, "sw-en": 1.5, "fr": 120.0}
    rows = [perplexity(name, value) for name, value in values.items()]
    rows += [perplexity(name, value / 2, language="en") for name, value in values.items()]
    figure = figure_of(rows)
    assert figure.title == "tiny · perplexity / dense on test at sparsity 0.4"
    assert figure.legend == ()
    axes = on_axes(figure)
    assert names_of(axes) == ["wanda sw-en", "wanda fr-en", "wanda fr"]
    assert axes.get_xscale() == "log"
    assert {"1", "10", "100", "dense"} <= set(texts(drawn(figure.panel)))
    shown = [(float(line.get_xdata()[0]), line.get_marker()) for line in axes.lines]
    assert (1.0, "None") in shown
    assert {value for value, _ in shown} >= {*values.values(), *(value / 2 for value in values.values())}
    assert "wanda sw-en outside English 1.500 (1.350 to 1.650), English 0.750" in figure.panel.label


def test_of_accuracy_the_best_method_is_on_top_and_dense_has_a_line_outside_english_and_in_english() -> None:
    rows = [a_row("fr-en", 0.3), a_row("sw-en", 0.4), a_row("fr-en", 0.8, language="en")]
    figure = figure_of(rows)
    axes = on_axes(figure)
    assert names_of(axes) == ["wanda sw-en", "wanda fr-en"]
    assert axes.get_xscale() == "linear"
    assert {"dense, outside English", "dense, English"} <= set(texts(drawn(figure.panel)))
    assert figure.title == "tiny · facts, accuracy on test at sparsity 0.4"
    assert "on dev at" in figure_of([{**row, "split": "dev"} for row in rows]).title


def test_dots_of_several_sparsities_have_theirs_in_their_names() -> None:
    figure = figure_of([perplexity("fr-en", 2.0, sparsity=0.5), perplexity("sw-en", 1.5, sparsity=0.0)])
    assert names_of(on_axes(figure)) == ["wanda sw-en", "wanda fr-en, at 0.5"]
    assert figure.title.endswith("by sparsity")


def curves(n: int, make: Any = a_row) -> list[dict[str, Any]]:
    languages = ("outside_english", "en")
    return [
        make(f"m{place}-en", 0.4 + place / 100 - level, sparsity=level, language=language)
        for language in languages
        for place in range(n)
        for level in (0.1, 0.2)
    ]


def test_a_few_lines_have_a_legend_and_more_have_their_names_in_the_figure() -> None:
    few, many = figure_of(curves(MAX_IN_LEGEND)), figure_of(curves(MAX_IN_LEGEND + 1))
    assert len({(entry.colour, entry.marker, entry.is_hollow) for entry in few.legend}) == MAX_IN_LEGEND
    assert many.legend == ()
    shown = texts(drawn(many.panel))
    assert len([text for text in shown if re.fullmatch("wanda m[0-9]-en", text)]) == MAX_IN_LEGEND + 1
    assert {"dense, outside English", "dense, English", "chance"} <= set(shown)


def test_lines_of_perplexity_have_logarithms_and_bars_at_their_marks() -> None:
    axes = on_axes(figure_of(curves(2, perplexity)))
    assert axes.get_yscale() == "log"
    bars = [segment for one in axes.collections for segment in one.get_segments()]
    assert len(bars) == 4
    assert len({float(bar[0][0]) for bar in bars}) == 4  # side by side


def test_no_more_methods_are_drawn_than_fit_and_the_title_counts_them() -> None:
    figure = figure_of([perplexity(f"m{n}", 1.1 + n) for n in range(MAX_VARIANTS + 3)])
    assert figure.title.endswith(f"; {MAX_VARIANTS} of {MAX_VARIANTS + 3} methods")
    assert len(names_of(on_axes(figure))) == MAX_VARIANTS
    assert figure.panel.size.height < 5.2


def panels() -> Iterator[tuple[str, FirstFigure]]:
    long = {"settings": "refined by gram swaps, reconstructed on en + fr-en + sw-en"}
    rows = [a_row("fr-en", 0.3), a_row("sw-en", 0.4, **long)]
    yield "long names", figure_of([*rows, a_row("fr-en", 0.51, language="en", dense_value=0.52)])
    yield "ratios", figure_of([perplexity("fr-en", 700.0), perplexity("sw-en", 1.2, **long)])
    yield "far apart", figure_of([a_row("fr-en", 0.1), a_row("fr-en", 0.9, language="en")])
    yield "lines", figure_of(curves(MAX_IN_LEGEND + 2))
    yield "lines of ratios", figure_of(curves(MAX_IN_LEGEND + 2, perplexity))


def test_rows_are_as_high_as_the_longest_name_has_lines() -> None:
    long = {"settings": "refined by gram swaps, reconstructed on en + fr-en + sw-en, mean over fr-en + sw-en + hi-en"}
    axes = on_axes(figure := figure_of([a_row("fr-en", 0.3), a_row("sw-en", 0.4, **long)]))
    n_lines = max(name.count("\n") + 1 for name in names_of(axes))
    height = figure.panel.size.height - figure.panel.size.top - figure.panel.size.bottom
    assert n_lines > 2
    assert height / 2 > n_lines * 8.5 / 72


@pytest.mark.parametrize(("name", "figure"), panels())
def test_no_text_is_cut_off(name: str, figure: FirstFigure) -> None:
    assert cut_texts(figure.panel) == [], name


def test_methods_with_demonstrations_have_their_marks_of_the_store(catalog: Catalog) -> None:
    styles = styles_by_text(catalog)
    _, named = curve_and_named(catalog)
    series: list[Series] = named_series(named.rows, styles)
    assert len({one.style for one in series}) == len({one.name for one in series}) == len(series) > 1
    assert {one.style for one in series} <= set(styles.values())
    assert len({one.style for one in method_series(run_report_query(catalog, "first_curve").rows)}) > 1
