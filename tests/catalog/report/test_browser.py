"""The page in headless Chromium: its content, its filters, and that only its own script runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.report.figures import FIGURES
from tests.catalog.method_data import OF_OTHER_SEARCHES
from tests.catalog.report.reading import ATTACK, Reader
from tests.chromium import PROGRAM, Chromium, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed (apt-get install chromium)"),
]

SHOWN = (
    """(selector => [...document.querySelectorAll(selector)].filter(one => one.getClientRects().length > 0).length)"""
)
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def chromium(folder: Path) -> Iterator[Chromium]:
    with Chromium(folder / "profile") as browser:
        yield browser


@pytest.fixture(scope="module")
def report(page: str, chromium: Chromium, folder: Path) -> Page:
    """The report of the filled store, with all parts open, in a tab that all tests share; each leaves it as it was. It
    scrolls at once, as for readers who want little motion."""
    path = folder / "report.html"
    path.write_text(page, "utf-8")
    tab = chromium.open(path.as_uri())
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    tab.click(".unfold")
    return tab


@pytest.fixture(autouse=True)
def unfiltered(report: Page) -> Iterator[None]:
    yield
    report.value("document.querySelector('#filters button').click()")


def n_shown(tab: Page, selector: str) -> int:
    """How many elements take up room."""
    return int(tab.value(f"{SHOWN}({selector!r})"))


def choose(tab: Page, name: str, value: str) -> None:
    """Open a filter and tick a box, as a hand does."""
    facet = f"#filters details[data-filter={name}]"
    if not tab.value(f"document.querySelector('{facet}').open"):
        tab.click(f"{facet} > summary")
    tab.click(f'{facet} input[value="{value}"]')
    assert tab.value(f"""document.querySelector('{facet} input[value="{value}"]').checked""")


def test_a_browser_shows_every_figure_without_requests_or_errors(report: Page, page: str) -> None:
    reader = Reader(page)
    for exhibit in FIGURES:
        if not exhibit.is_optional:
            on_top = [one for one in reader.panels(exhibit.anchor) if not _is_detail(one)]
            n_panels = n_shown(report, f"#{exhibit.anchor} [role=img], #{exhibit.anchor} .heat")
            assert n_panels == len(on_top) > 0, exhibit.anchor
    assert n_shown(report, "#filters") == 1
    assert report.console_messages == []
    assert len(report.requests) == 1


def _is_detail(element: object) -> bool:
    return any("data-off" in one.attributes for one in element.ancestors)  # type: ignore[attr-defined]


def test_choosing_a_pair_shows_its_own_lines_and_tables_instead_of_the_means(report: Page) -> None:
    means, details = "#curves g[data-mean]", "#curves g[data-detail]"
    assert n_shown(report, means) > 0 == n_shown(report, details)
    choose(report, "pair", "fr-en")
    assert n_shown(report, means) == 0 < n_shown(report, details)
    assert n_shown(report, details) == n_shown(report, details + '[data-pair="fr-en"]')
    legend = "#curves figure:first-of-type .legend li"
    assert n_shown(report, legend) == 6  # dense, wanda twice and contrast on translation, random, magnitude
    assert n_shown(report, '#curves g[data-score="random"]') > 0
    report.click("#filters button")
    assert n_shown(report, means) > 0 == n_shown(report, details)
    assert n_shown(report, legend) == 8
    assert n_shown(report, "#filters input:checked") == 0


@pytest.mark.thorough("a browser lays out a large page")
def test_a_pair_keeps_its_rows_of_tables_and_a_heat_map_without_rows_is_hidden(report: Page) -> None:
    rows_of_sources, rows_of_features = "#sources tbody > tr[data-pair]", "#overlaps tbody > tr[data-pair]"
    choose(report, "pair", "fr-en")
    blocks = n_shown(report, "#overlaps .heat")
    assert blocks > 0
    assert n_shown(report, rows_of_features) == n_shown(report, "#overlaps tbody > tr[data-pair='fr-en']") >= blocks
    of_pair = n_shown(report, "#sources tbody > tr[data-pair='fr-en']")
    assert n_shown(report, rows_of_sources) == of_pair > 0
    report.click("#filters button")
    choose(report, "pair", "sw")
    assert n_shown(report, "#sources .panel") == n_shown(report, rows_of_sources) == 0
    assert report.value("document.querySelector('#sources .note').textContent") == "Nothing matches the filters."
    assert n_shown(report, rows_of_features) > 0


@pytest.mark.thorough("renders pages of its own")
def test_scores_and_tasks_narrow_each_other_and_are_named_in_the_bar(report: Page) -> None:
    choose(report, "score", "contrast")
    choose(report, "score", "wanda")
    choose(report, "task", "facts")
    for selector in ("#curves g[data-score]", "#sources .panel", "#pareto g[data-score]", "#perplexity tbody > tr"):
        scores = report.value(
            f"[...new Set([...document.querySelectorAll({selector!r})].filter(one => one.getClientRects().length > 0)"
            ".map(one => one.dataset.score))].sort()"
        )
        assert set(scores) <= {"contrast", "wanda", None}, selector
    assert n_shown(report, "#curves figure") == 1
    assert report.value("document.querySelector('[data-filter=score] b').textContent") == "contrast, wanda"
    assert n_shown(report, "#curves g[data-score=contrast]") > 0


@pytest.mark.thorough("a browser lays out a large page")
def test_a_section_notes_that_nothing_matches_or_a_filter_does_not_apply(report: Page) -> None:
    choose(report, "task", "perplexity")
    assert report.value("document.querySelector('#sources .note').textContent") == "Nothing matches the filters."
    assert n_shown(report, "#sources figure") == 0
    assert report.value("document.querySelector('#masks .note').textContent") == "Not filtered by task."
    assert report.value("document.querySelector('#curves .note').textContent") == ""


@pytest.mark.thorough("a browser lays out a large page")
def test_a_filter_can_be_opened_and_ticked_and_closed_with_keys(report: Page) -> None:
    summary = "document.querySelector('[data-filter=score] > summary')"
    report.value(f"{summary}.focus()")
    report.press("Enter")
    report.press("Tab")
    report.press(" ")
    assert n_shown(report, "#filters input:checked") == 1
    report.press("Escape")
    assert n_shown(report, "#filters details[open]") == 0
    assert report.value(f"document.activeElement === {summary}")
    report.press("Enter")
    assert n_shown(report, "#filters details[open]") == 1
    report.value("document.querySelector('#filters button').focus()")
    assert n_shown(report, "#filters details[open]") == 0


@pytest.mark.thorough("a browser lays out a large page")
def test_a_link_to_a_section_leads_to_its_heading_below_the_filters(report: Page) -> None:
    report.value("location.hash = '#magnitudes'")
    heading, bar = (
        f"document.querySelector('{selector}').getBoundingClientRect()" for selector in ("#magnitudes h3", "#filters")
    )
    assert report.value(f"{heading}.top >= {bar}.bottom")
    assert report.value(f"{bar}.top") == 0


@pytest.mark.thorough("a browser lays out a large page")
def test_two_heat_maps_of_nine_sparsities_fit_next_to_each_other(report: Page) -> None:
    width = report.value("""(() => {
        const panel = document.querySelector('#sources .heat').closest('.panel').cloneNode(true);
        panel.querySelector('.heat').toggleAttribute('data-marked', true);
        for (const row of panel.querySelectorAll('tr')) {
            while (row.children.length > 1) row.lastChild.remove();
            for (let place = 0; place < 9; place++) row.append(Object.assign(
                document.createElement(row.closest('thead') ? 'th' : 'td'),
                {textContent: row.closest('thead') ? '0.55' : '−0.59**'}));
        }
        document.querySelector('#sources .panels').append(panel);
        const width = panel.offsetWidth;
        panel.remove();
        return width;
    })()""")
    assert 400 < width <= (report.value("document.querySelector('#sources .panels').offsetWidth") - 12) / 2


@pytest.mark.thorough("a browser lays out a large page")
def test_elements_off_the_screen_are_laid_out_soon_after_a_click(report: Page) -> None:
    choose(report, "score", "wanda")
    waited = "new Promise(done => requestAnimationFrame(() => setTimeout(() => setTimeout(done))))"
    report.call("Runtime.evaluate", expression=waited, awaitPromise=True)
    assert not report.value("document.body.classList.contains('busy')")


@pytest.mark.thorough("renders pages of its own")
def test_a_phone_scrolls_vertically_only_and_shows_every_figure(report: Page) -> None:
    report.resize(400)
    try:
        assert report.value("document.documentElement.scrollWidth") == 400
        widest = report.value(
            "Math.max(...[...document.querySelectorAll('.panel')].map(one => one.getBoundingClientRect().right))"
        )
        assert widest <= 400
        titles = "[...document.querySelectorAll('.heat caption span')].map(one => one.getBoundingClientRect().right)"
        assert report.value(f"Math.max(...{titles})") <= 400
        report.value("document.querySelector('#store').scrollIntoView()")
        report.click(".to-filters")
        assert report.value("Math.abs(document.querySelector('#filters').getBoundingClientRect().top)") < 20
        choose(report, "pair", "fr-en")
        assert n_shown(report, "#curves g[data-detail]") > 0
    finally:
        report.resize(1280)
    assert n_shown(report, ".to-filters") == 0


@pytest.mark.thorough("a browser lays out a large page")
def test_the_data_of_a_figure_are_downloaded_from_the_page_itself(report: Page) -> None:
    links = report.value("[...document.querySelectorAll('.origin a')].map(one => [one.download, one.href.slice(0, 5)])")
    assert len(links) > 15
    assert all(name.endswith((".csv", ".csv.gz")) and start == "data:" for name, start in links)


@pytest.mark.thorough("renders pages of its own")
def test_a_print_shows_all_open_parts_with_their_colours(report: Page, folder: Path) -> None:
    path = folder / "report.pdf"
    report.print_to(path)
    content = path.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") > 3


def test_a_folded_page_is_short_and_page_one_fits_on_a_screen(chromium: Chromium, folder: Path, report: Page) -> None:
    tab = chromium.open((folder / "report.html").as_uri())
    tab.resize(1400, 900)
    assert tab.value("document.documentElement.scrollHeight") < 12 * 900
    for width in (1400, 1280):
        tab.resize(width, 900)
        assert tab.value("document.querySelector('#first').getBoundingClientRect().bottom") <= 900
    seen = (
        "[...document.querySelectorAll('section [role=img]')].filter(one => one.checkVisibility()).map(one => one.id)"
    )
    assert tab.value(f"{seen}.length") == 1 < report.value(f"{seen}.length")


@pytest.mark.thorough("renders pages of its own")
def test_an_answer_of_page_one_opens_its_evidence_and_all_parts_can_be_opened_and_closed(
    chromium: Chromium, folder: Path, report: Page
) -> None:
    tab = chromium.open((folder / "report.html").as_uri())
    opened = "[...document.querySelectorAll('details.fold[open]')].map(one => one.parentElement.id)"
    waited = (
        "new Promise(done => { const timer = setInterval(() => { if (document.querySelector('details.fold[open]')) "
        "{ clearInterval(timer); done(); } }, 20); })"
    )
    for _ in range(2):  # the second click leads to the same place
        tab.click("#first .reply a")
        tab.call("Runtime.evaluate", expression=waited, awaitPromise=True)
        assert tab.value(opened) == [tab.value("location.hash.slice(1)")]
        tab.value("document.querySelector('details.fold[open]').open = false")
    tab.click(".unfold")
    assert n_shown(tab, "details.fold:not([open])") == 0
    assert tab.value("document.querySelector('.unfold').textContent") == "Close all parts"
    tab.click(".unfold")
    assert n_shown(tab, "details.fold[open]") == 0


@pytest.mark.thorough("renders pages of its own")
def test_without_scripts_the_page_shows_the_means_and_no_filters(
    chromium: Chromium, folder: Path, report: Page
) -> None:
    tab = chromium.open((folder / "report.html").as_uri(), scripts=False)
    tab.value("document.querySelectorAll('details.fold').forEach(part => { part.open = true; })")
    assert n_shown(tab, "#filters") == 0
    assert n_shown(tab, "#curves g[data-mean]") == n_shown(report, "#curves g[data-mean]") > 0
    assert n_shown(tab, "[data-detail]") == 0
    assert n_shown(tab, "noscript p") == 1
    tab.resize(400)
    assert n_shown(tab, ".to-filters") == 0
    assert n_shown(report, "noscript p") == 0


def test_an_attack_in_a_name_runs_nothing_and_can_be_used_as_a_filter(
    attacked_page: str, chromium: Chromium, folder: Path
) -> None:
    path = folder / "attacked.html"
    path.write_text(attacked_page, "utf-8")
    tab = chromium.open(path.as_uri())
    tab.click(".unfold")
    assert tab.value("document.querySelectorAll('script').length") == 1
    assert tab.value("document.querySelectorAll('img').length") == 0
    boxes = tab.value("[...document.querySelectorAll('#filters input')].map(one => one.value)")
    place = next(place for place, value in enumerate(boxes) if ATTACK in value and value.startswith("facts"))
    tab.click("#filters details[data-filter=task] > summary")
    tab.click("#filters input", place)
    assert tab.value("document.querySelector('[data-filter=task] b').textContent") == boxes[place]
    assert n_shown(tab, "#curves figure") == 1
    assert tab.console_messages == []
    assert len(tab.requests) == 1


@pytest.mark.thorough("renders pages of its own")
def test_figures_of_all_kinds_of_variants_are_rendered(methods_page: str, chromium: Chromium, folder: Path) -> None:
    path = folder / "methods.html"
    path.write_text(methods_page, "utf-8")
    tab = chromium.open(path.as_uri())
    tab.click(".unfold")
    for exhibit in (one for one in FIGURES if one.query not in OF_OTHER_SEARCHES):
        assert n_shown(tab, f"#{exhibit.anchor} [role=img], #{exhibit.anchor} .heat") > 0, exhibit.anchor
    assert tab.console_messages == []


def test_errors_and_requests_of_a_page_are_detected(chromium: Chromium, folder: Path) -> None:
    path = folder / "complaining.html"
    path.write_text("<!DOCTYPE html><title>x</title><img src=absent.png><script>console.error('seen')</script>")
    tab = chromium.open(path.as_uri())
    assert any("seen" in line for line in tab.console_messages)
    assert any(address.endswith("absent.png") for address in tab.requests)
