import base64
import gzip
import hashlib
import math
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from catalog.report import page as page_module
from catalog.report import query_results, write_report
from catalog.report.figures import EXAMPLES, FIGURES, TABLES, Exhibit, run_exhibit
from catalog.report.labels import cell, number, p_value
from catalog.report.page import bibtex_entry, methods_of, methods_paragraph, numeric_columns, render_page, report_title
from catalog.report.query_results import MAX_DATA_ROWS, MAX_FILE_ROWS, Source, run_report_query
from catalog.report.topics import TOPICS
from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from tests.catalog.method_data import OF_OTHER_SEARCHES
from tests.catalog.report.reading import ATTACK, Reader
from tests.catalog_data import write_rows


def fact(topic: str, name: str, detail: str, n: int = 1) -> dict[str, Any]:
    return {"topic": topic, "name": name, "detail": detail, "n": n}


def test_the_paragraph_names_models_variants_sets_tests_families_code_and_snapshot(catalog: Catalog) -> None:
    methods = methods_of(catalog)
    for part in (
        "tiny (4,096 prunable weights)",
        "wanda on translation (12; sparsity 0.1, 0.3, 0.5)",
        "monolingual (4; 2 demonstrations, 4 shots, seeds 0)",
        "Tango's score test of paired proportions",
        "together (primary, 1 test)",
        "late (exploratory, 39 tests)",
        "mlprune 0.1.0 (c0ffee, CPython 3.11.7, numpy 2.4, torch 2.9)",
        f"snapshot {catalog.snapshot_id()}",
    ):
        assert part in methods.paragraph
    assert catalog.snapshot_id() in methods.bibtex


def test_metrics_of_the_same_test_are_listed_together_with_its_interval_and_draws() -> None:
    facts = {
        "model": [fact("model", "tiny", "9 prunable weights")],
        "pooled": [
            fact("pooled", "accuracy", "sign_flip with interval sign_flip", 9999),
            fact("pooled", "exact_match", "sign_flip with interval sign_flip", 9999),
            fact("pooled", "bleu", "randomization with interval bca", 999),
        ],
    }
    text = methods_paragraph(facts, snapshot="s")
    assert (
        "accuracy, exact_match by sign flips of clusters (9,999 draws), interval by the inversion of the test" in text
    )
    assert "bleu by paired approximate randomization (999 draws), interval by BCa bootstrap of clusters" in text
    assert "No question was declared before the run" in text


def test_an_empty_store_has_no_paragraph() -> None:
    assert methods_paragraph({}, snapshot="s") == ""


def test_the_citation_is_balanced_bibtex_with_every_version_that_ran() -> None:
    entry = bibtex_entry({"code": [fact("code", "0.2.0", ""), fact("code", "0.3.0", "")]}, snapshot="abc")
    assert entry.startswith("@software{mlprune,\n")
    assert entry.count("{") == entry.count("}")
    assert "version = {0.2.0 and 0.3.0}" in entry
    assert "catalog snapshot abc" in entry


NEW_MODEL = {"base_model_id": "@id", "source": "tiny", "family": "xglm", "n_prunable": 9}
EXHIBITS = [*FIGURES, *TABLES]
_ANALYSES = ("search", "sensitivity", "influence", "expert", "pooled", "item_flow", "routing")
ANALYSED = [one for one in EXHIBITS if one.query.startswith(_ANALYSES)]
"""Optional exhibits, among others, for which the filled store has data."""
SCRIPT = (Path(page_module.__file__).parent / "page.js").read_text("utf-8")


@pytest.fixture(scope="module")
def reader(page: str) -> Reader:
    return Reader(page)


@pytest.fixture(scope="module")
def attacked(attacked_page: str) -> Reader:
    return Reader(attacked_page)


@pytest.mark.thorough("renders pages of its own")
@pytest.mark.parametrize("exhibit", FIGURES, ids=lambda exhibit: exhibit.anchor)
def test_every_figure_is_drawn_with_a_panel_for_each_part_of_it(
    reader: Reader, catalog: Catalog, exhibit: Exhibit
) -> None:
    assert exhibit.draw is not None
    groups = [group for source in run_exhibit(catalog, exhibit) for group in exhibit.draw(source.rows)]
    n_panels = sum(len(group.panels) for group in groups)
    panels = reader.panels(exhibit.anchor)
    assert len(panels) == n_panels
    assert len({panel.attributes["aria-label"] for panel in panels}) >= n_panels / 2
    assert not reader.find("p", section=exhibit.anchor, class_="empty")
    assert groups or exhibit.is_optional


ON_REQUEST = ("distance",)
"""Tables of metrics that the filled store lacks, because evaluations have them on request; tests of these have rows."""


@pytest.mark.parametrize(
    "exhibit", [one for one in TABLES if one.anchor not in ON_REQUEST], ids=lambda exhibit: exhibit.anchor
)
def test_every_table_of_a_filled_store_has_rows(reader: Reader, exhibit: object) -> None:
    anchor = exhibit.anchor  # type: ignore[attr-defined]
    assert len(reader.find("tr", section=anchor)) > 2
    assert not reader.find("p", section=anchor, class_="empty")


def test_means_and_changes_have_their_intervals_and_corrected_p_values(reader: Reader, catalog: Catalog) -> None:
    rows = {row["label"]: row for row in run_report_query(catalog, "means_outside_english").rows}
    aggregates = catalog.query("FROM internal.aggregates WHERE metric = 'accuracy' AND group_kind = 'outside_english'")
    assert len(rows) == len({row["variant_id"] for row in aggregates if row["split"] == "test"}) > 10
    row = rows["wanda fr-en 0.5"]
    assert row["draws"] == "one draw"
    cells = {cell.text for cell in reader.find("td", section="outside-english")}
    assert {number(row["difference"], signed=True), p_value(row["p_corrected"]), "one draw"} <= {
        text.partition(" (")[0] for text in cells
    }
    changes = run_report_query(catalog, "translation_quality").rows
    assert {row["exact_match_change"] for row in changes if row["sparsity"]} == {0.0}
    shown = {cell.text for cell in reader.find("td", section="translation")}
    row = next(row for row in changes if row["label"] == "wanda fr-en 0.5")
    low, high = (number(row[f"chrf_change_{end}"], signed=True) for end in ("low", "high"))
    assert f"{number(row['chrf_change'], signed=True)} ({low} to {high})" in shown


def test_ratios_of_perplexities_have_the_interval_of_the_comparison(reader: Reader, catalog: Catalog) -> None:
    values = {row["evaluation_id"]: row for row in run_report_query(catalog, "perplexity").rows}
    compared = catalog.query("FROM internal.against_dense WHERE group_kind = 'language' AND metric = 'perplexity'")
    assert len(compared) > 10
    for row in compared:
        shown = values[row["evaluation_id"]]
        assert shown["ratio_to_dense"] == pytest.approx(shown["perplexity"] / row["dense_value"])
        assert shown["ratio_low"] == pytest.approx(math.exp(row["ci_low"]))
        assert shown["p_corrected"] == row["p_corrected"]
    low, high = number(shown["ratio_low"]), number(shown["ratio_high"])
    assert f"{number(shown['ratio_to_dense'])} ({low} to {high})" in {
        cell.text for cell in reader.find("td", section="perplexity")
    }


@pytest.mark.thorough("renders pages of its own")
def test_every_exhibit_has_its_query_and_data(reader: Reader) -> None:
    of_first = [origin.name for origin in reader.origins if origin.section == "first"]
    assert of_first == ["overview", "first_answers", "first_curve", "first_variants", "first_cost"]
    below = {origin.section: origin.name for origin in reader.origins if origin.section not in ("headline", "first")}
    assert below.pop("methods") == "methods"
    shown = [exhibit for exhibit in (*EXHIBITS, *EXAMPLES) if exhibit in ANALYSED or not exhibit.is_optional]
    assert below == {exhibit.anchor: exhibit.query for exhibit in shown}
    of_headline = {origin.name for origin in reader.origins if origin.section == "headline"}
    assert of_headline == {"chosen_on_dev", "answered_questions"}


@pytest.mark.thorough("renders pages of its own")
def test_every_query_in_the_page_returns_the_rows_the_page_shows(reader: Reader, catalog: Catalog) -> None:
    for origin in reader.origins:
        result = catalog.select(origin.sql, origin.parameters)
        texts = [list(result.columns), *([cell(value) for value in row] for row in result.rows)]
        assert origin.csv == texts, origin.name
        assert origin.table == texts[: MAX_DATA_ROWS + 1], origin.name


def test_the_page_needs_nothing_from_outside(page: str, reader: Reader) -> None:
    assert set(re.findall(r"\b(?:https?|ftp|file|wss?)://[\w./]+", page)) == {"http://www.w3.org/2000/svg"}
    tags = {element.tag for element in reader.elements}
    assert tags.isdisjoint({"iframe", "object", "embed", "img", "form", "video", "audio"})
    assert not [element for element in reader.find("script") if "src" in element.attributes]
    links = [element.attributes["href"] for element in reader.elements if element.tag in ("a", "link")]
    assert all(link.startswith(("#", "data:")) for link in links)


def test_ids_are_unique_and_every_reference_has_its_target(page: str, reader: Reader) -> None:
    ids = [element.attributes["id"] for element in reader.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page))
    assert len(references) > 20
    assert {first or second for first, second in references} <= set(ids)


@pytest.mark.thorough("renders pages of its own")
def test_every_panel_has_a_text_for_screen_readers(reader: Reader) -> None:
    panels = [panel for exhibit in FIGURES for panel in reader.panels(exhibit.anchor)]
    assert all(len(panel.attributes["aria-label"]) > 20 for panel in panels)
    assert "Difference of accuracy from dense in fr against sparsity: 7 methods, dense 0.600" in {
        panel.attributes["aria-label"] for panel in reader.panels("curves")
    }


@pytest.mark.thorough("renders pages of its own")
def test_an_empty_catalog_gives_a_page_that_says_what_to_do(empty_catalog: Catalog) -> None:
    reader = Reader(render_page(empty_catalog))
    assert not reader.find("section")
    assert not reader.find("nav")
    assert "mlprune run RECIPE.yaml" in reader.find("p", class_="lead")[0].text
    assert not [element for element in reader.elements if element.attributes.get("role") == "img"]
    assert not reader.find("input")


@pytest.mark.thorough("renders pages of its own")
def test_optional_exhibits_have_a_section_if_they_have_data(methods_page: str, methods_catalog: Catalog) -> None:
    reader = Reader(methods_page)
    without_data = [exhibit for exhibit in EXHIBITS if exhibit.query in {*OF_OTHER_SEARCHES, "distance"}]
    optional = [one for one in EXHIBITS if one.is_optional and one not in (*ANALYSED, *without_data)]
    assert [exhibit.anchor for exhibit in optional] == ["layers", "profiles", "schedules", "vocabularies"]
    for exhibit in optional:
        assert reader.panels(exhibit.anchor)
        (origin,) = [one for one in reader.origins if one.section == exhibit.anchor]
        result = methods_catalog.select(origin.sql, origin.parameters)
        assert origin.csv == [list(result.columns), *([cell(value) for value in row] for row in result.rows)]
        assert "None" not in reader.find("section", id=exhibit.anchor)[0].text.partition("SQL and data")[0]


@pytest.mark.thorough("renders pages of its own")
def test_parts_without_data_are_listed_together_with_what_would_create_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "model")
    write_rows(store, "base_models", parameters={}, rows={"base_models": [NEW_MODEL]})
    with Catalog.in_memory(store) as catalog:
        reader = Reader(render_page(catalog))
    listed = {element.attributes["id"]: element.text for element in reader.find("p", section="methods", class_="empty")}
    assert len(listed) > 10
    for exhibit in EXHIBITS:
        has_section = bool(reader.find("section", id=exhibit.anchor))
        assert exhibit.is_optional or has_section or exhibit.empty_text in listed[exhibit.anchor]
        assert not has_section or exhibit.anchor not in listed


def test_every_exhibit_has_one_topic_and_the_index_has_at_most_nine_entries(reader: Reader) -> None:
    anchors = [anchor for anchors in TOPICS.values() for anchor in anchors]
    assert sorted(anchors) == sorted(exhibit.anchor for exhibit in (*EXHIBITS, *EXAMPLES))
    (contents,) = reader.find("nav")
    links = [link.attributes["href"] for link in reader.find("a") if link.is_in(contents)]
    assert 5 < len(links) <= 9
    ids = {element.attributes.get("id") for element in reader.elements}
    assert {link.removeprefix("#") for link in links} <= ids


def test_everything_but_page_one_is_folded(reader: Reader) -> None:
    folds = reader.find("details", class_="fold")
    assert not [fold for fold in folds if "open" in fold.attributes]
    for panel in reader.find("svg", role="img"):
        assert panel.section == "first" or any(panel.is_in(fold) for fold in folds)


def test_an_attack_in_a_name_is_shown_as_text_and_does_nothing(attacked: Reader) -> None:
    assert "img" not in {element.tag for element in attacked.elements}
    assert [element.text for element in attacked.find("script")] == [SCRIPT]
    assert not [key for element in attacked.elements for key in element.attributes if key.startswith("on")]
    assert attacked.find("h1")[0].text == ATTACK
    assert any(ATTACK in element.text for element in attacked.find("td", section="failures"))
    assert any(ATTACK in element.text for element in attacked.find("td", section="headline"))
    assert any(ATTACK in element.text for element in attacked.find("td", section="first"))


def test_a_language_of_any_spelling_is_written_into_its_figure_unchanged(attacked: Reader) -> None:
    lines = " ".join(text.text for text in attacked.find("text", section="curves"))  # a long title has several lines
    assert " ".join(ATTACK.split()) in " ".join(lines.split())
    labels = [panel.attributes["aria-label"] for panel in attacked.panels("curves")]
    assert any(label.startswith(f"Difference of accuracy from dense in {ATTACK} against") for label in labels)


@pytest.mark.slow
def test_equal_catalogs_give_equal_bytes_whatever_matplotlib_is_set_to(
    page: str, filled: Store, tmp_path: Path
) -> None:
    """Slow because it draws every figure once more; `test_figure_export` compares some by default."""
    with (
        mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}),
        Catalog.in_memory(filled) as other,
    ):
        path = write_report(other, tmp_path / "report.html")
        assert mpl.rcParams["font.size"] == 30
    assert path.read_bytes() == page.encode()


@pytest.mark.thorough("renders pages of its own")
def test_a_failed_write_leaves_the_old_report_and_no_temporary_file(
    empty_catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.html"
    out.write_text("old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(BadInputError, match="No space left"):
        write_report(empty_catalog, out)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert out.read_text() == "old"


def test_a_folder_is_refused_as_the_file_of_a_report(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="expected='a file', got='a folder'"):
        write_report(catalog, tmp_path)


@pytest.mark.thorough("renders pages of its own")
def test_the_title_names_the_recipes_and_the_models(reader: Reader, empty_catalog: Catalog) -> None:
    assert report_title(["a"], ["m", "n"]) == "a: pruning of m and n"
    assert report_title("abcd", ["m"]) == "a, b, c and d: pruning of m"
    assert report_title("abcdef", ["m"]) == "a, b, c and 3 more: pruning of m"
    assert reader.find("h1")[0].text == reader.find("title")[0].text == "artificial: pruning of tiny"
    (empty,) = Reader(render_page(empty_catalog)).find("h1")
    assert empty.text == report_title((), ())


@pytest.mark.thorough("renders pages of its own")
def test_missing_folders_of_the_report_are_created(empty_catalog: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "new" / "deep" / "report.html"
    assert write_report(empty_catalog, out, title="Mine") == out
    assert Reader(out.read_text("utf-8")).find("h1")[0].text == "Mine"


def test_the_only_script_is_the_one_with_the_hash_that_the_page_allows(page: str, reader: Reader) -> None:
    (script,) = reader.find("script")
    policy = reader.find("meta", **{"http-equiv": "Content-Security-Policy"})[0].attributes["content"]
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval|document\.write|fetch|XMLHttp|import", SCRIPT)


def test_the_page_names_the_snapshot_of_its_catalog_at_every_figure(reader: Reader, catalog: Catalog) -> None:
    snapshot = catalog.snapshot_id()
    assert snapshot in reader.find("p", class_="lead")[0].text
    said = [element for element in reader.find("details", class_="origin") if f"Snapshot {snapshot}" in element.text]
    assert len(said) == len(reader.origins)


def test_filters_offer_every_model_task_score_and_pair(reader: Reader) -> None:
    offered: dict[str, list[str]] = {}
    for box in reader.find("input", type="checkbox"):
        offered.setdefault(box.attributes["name"], []).append(box.attributes["value"])
    assert offered == {
        "model": ["tiny"],
        "task": ["facts", "perplexity", "translation"],
        "score": ["contrast", "magnitude", "random", "wanda"],
        "pair": ["code", "en", "es", "es-en", "fr", "fr-en", "mixed es-en + fr-en", "sw"],
    }
    assert "hidden" in reader.find("div", id="filters")[0].attributes


def test_every_facet_value_is_offered_by_the_filters(reader: Reader) -> None:
    offered = {(box.attributes["name"], box.attributes["value"]) for box in reader.find("input", type="checkbox")}
    for element in reader.elements:
        for name in ("model", "task", "score", "pair"):
            values = element.attributes.get(f"data-{name}")
            assert values is None or {(name, value) for value in values.split("\n")} <= offered, values


def test_large_data_are_compressed_without_loss(catalog: Catalog) -> None:
    rows = tuple({"n": n, "text": "word" * 10} for n in range(4000))
    source = Source("many", "SELECT", {}, ("n", "text"), rows)
    assert source.file_name == "many.csv.gz"
    packed = base64.b64decode(source.csv_uri.partition("base64,")[2])
    assert gzip.decompress(packed) == source.csv
    assert len(source.csv.splitlines()) == 4001
    assert run_report_query(catalog, "tasks").file_name == "tasks.csv"


@pytest.mark.thorough("renders pages of its own")
def test_very_large_data_are_cut_in_the_page_which_says_how_to_get_all(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple({"n": n} for n in range(MAX_FILE_ROWS + 5))
    source = Source("many", "SELECT", {}, ("n",), rows)
    packed = base64.b64decode(source.csv_uri.partition("base64,")[2])
    assert len(gzip.decompress(packed).splitlines()) == 1 + MAX_FILE_ROWS
    assert len(source.csv.splitlines()) == 1 + len(rows)
    for module in (query_results, page_module):
        monkeypatch.setattr(module, "MAX_FILE_ROWS", 3)
    monkeypatch.setattr(page_module, "FIGURES", ())
    monkeypatch.setattr(page_module, "TABLES", TABLES[:1])
    text = render_page(catalog)
    assert "Download the first 3 of" in text
    assert "--format csv" in text


def test_a_column_is_right_aligned_if_it_has_numbers_and_dashes_only() -> None:
    rows = [["0.5", "–", "fr", "<0.001", "−0.100"], ["–", "–", "0.5", "1", "+1e-05"]]
    assert numeric_columns(rows) == [True, False, False, True, True]


def test_every_variant_has_a_label_of_its_own_in_tables(reader: Reader, catalog: Catalog) -> None:
    cells = {cell.text for cell in reader.find("td", section="perplexity")}
    assert {"wanda fr-en 0.5", "dense"} <= cells
    meanings = {row["id"]: row["meaning"] for row in run_report_query(catalog, "names").rows}
    for row in catalog.query("SELECT * FROM described_variants WHERE score = 'wanda'"):
        assert meanings[row["variant_id"]] == row["label"]


def test_the_gap_to_english_is_split_into_the_change_in_english_and_the_change_outside(catalog: Catalog) -> None:
    rows = run_report_query(catalog, "means_outside_english").rows
    (random, *_) = [row for row in rows if row["score"] == "random" and row["sparsity"] == 0.5]
    of_variant = {
        row["language"]: row["difference"]
        for row in catalog.query(
            "FROM internal.against_dense WHERE task = 'facts' AND split = 'test' AND language IS NOT NULL"
        )
        if row["variant_id"] == random["variant_id"] and row["metric"] == "accuracy"
    }
    outside = [difference for language, difference in of_variant.items() if language != "en"]
    assert random["difference"] == pytest.approx(sum(outside) / 3)
    assert random["english_difference"] == pytest.approx(of_variant["en"])
    assert random["minus_english_change"] == pytest.approx(sum(outside) / 3 - of_variant["en"])
    sql = "SELECT * FROM internal.aggregates WHERE group_kind = 'gap' AND group_name = '' AND task = 'facts'"
    sql += " AND split = 'test' AND metric = 'accuracy'"
    (gap,) = [row for row in catalog.query(sql) if row["variant_id"] == random["variant_id"]]
    assert random["minus_english_change"] == pytest.approx(gap["difference"])
    interval = random["minus_english_change_ci_low"], random["minus_english_change_ci_high"]
    assert interval == (gap["ci_low"], gap["ci_high"])
    assert random["minus_english_change_p_corrected"] == gap["p_corrected"]
