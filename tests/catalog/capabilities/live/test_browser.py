"""The live page in headless Chromium: it follows a run, answers SQL, replaces the report, and stays small all night."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from catalog.capabilities.live import watcher
from catalog.capabilities.live.server import LiveServer, Sources
from catalog.capabilities.live.watcher import Pace
from mlprune.store.run_log_entries import SearchState
from mlprune.store.run_status import RunStatus
from mlprune.store.store import Store
from tests.catalog.capabilities.live.asgi import PATIENCE_S
from tests.catalog.capabilities.live.conftest import a_run
from tests.catalog.capabilities.live.test_server import running
from tests.catalog.report.reading import ATTACK
from tests.chromium import PROGRAM, Chromium, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed (apt-get install chromium)"),
]


class Scene:
    """A server whose runs and report a test changes, and a tab with its page."""

    def __init__(self, server: LiveServer, tab: Page, runs: list[RunStatus], report: list[str]) -> None:
        self.server, self.tab, self.runs, self.report = server, tab, runs, report

    def until(self, condition: str | Callable[[], object]) -> float:
        """Wait until a JavaScript expression or a condition is true; return the seconds it took."""
        started = time.monotonic()
        while not (self.tab.value(condition) if isinstance(condition, str) else condition()):
            assert time.monotonic() - started < PATIENCE_S, condition
            time.sleep(0.01)
        return time.monotonic() - started


@pytest.fixture(scope="module")
def scene(small_filled: Store, page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    runs, report = [a_run("one")], [page]

    def render(out: Path, _: Event) -> None:
        out.write_text(report[0], "utf-8")

    sources = Sources(small_filled, read_runs=lambda: list(runs), render_report=render)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "CATALOG", "REPORT"):
            patch.setattr(watcher, name, Pace(0.1, 0.0))
        with running(sources) as server, Chromium(tmp_path_factory.mktemp("profile")) as chromium:
            tab = chromium.open(server.address)
            made = Scene(server, tab, runs, report)
            made.until("document.querySelectorAll('#report section').length > 5")
            yield made


def test_the_page_shows_runs_best_variants_and_the_report_without_errors(scene: Scene) -> None:
    tab = scene.tab
    assert tab.value("document.querySelector('[data-run=one] h3').textContent") == "studyrunning"
    assert "3 of 10 jobs done" in tab.value("document.querySelector('[data-run=one] p').textContent")
    assert tab.value("document.querySelectorAll('#live-best table').length") > 0
    best, curve = (
        tab.value(f"[...document.querySelectorAll('#live-{part} h3')].map(one => one.textContent)")
        for part in ("best-list", "curve")
    )
    assert all(title.startswith("Best so far on dev: ") and ", dev split" in title for title in best)
    assert [title.startswith("So far on dev: ") and ", dev split" in title for title in curve] == [True]
    n_lines = tab.value("document.querySelectorAll('#live-curve polyline').length")
    assert n_lines == tab.value("document.querySelectorAll('#live-curve .legend li').length") > 1
    assert tab.value("document.querySelectorAll('#report svg[role=img]').length") > 5
    assert (
        tab.value("getComputedStyle(document.querySelector('#report .panel')).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert tab.value("location.search") == ""
    assert tab.console_messages == []
    assert all(address.startswith((f"http://127.0.0.1:{scene.server.port}/", "data:")) for address in tab.requests)
    ids = tab.value("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.thorough("a browser lays out a live page")
def test_progress_is_painted_soon_after_it_changes_and_closed_lists_stay_closed(scene: Scene) -> None:
    tab = scene.tab
    steps = "document.querySelector('[data-run=one] > details:last-of-type').open"
    assert tab.value(steps)
    tab.click("[data-run=one] > details:last-of-type > summary")
    scene.runs[0] = a_run("one", n_done=7, failures=("prune abc: broken",))
    seconds = scene.until("document.querySelector('[data-run=one] progress').value === 7")
    assert seconds < 15  # less than a request for news waits; tests/benchmarks/live_page.py measures it
    assert not tab.value(steps)
    assert tab.value("document.querySelector('[data-run=one] td.n:nth-child(3)').textContent") == "7"
    assert "prune abc: broken" in tab.value("document.querySelector('[data-run=one]').innerText")
    assert tab.value("document.title").startswith("70 % · ")
    scene.runs[0] = a_run("one", n_done=10, state="done")
    scene.until("document.querySelector('[data-run=one] .state').textContent === 'done'")
    name = tab.value("document.getElementById('live-store').textContent").rstrip("/").rpartition("/")[2]
    assert tab.value("document.title") == f"{name} · mlprune"


@pytest.mark.thorough("serves a live page")
def test_sql_is_answered_from_the_keyboard_and_errors_are_shown(scene: Scene) -> None:
    tab = scene.tab

    def run(sql: str) -> str:
        tab.value("document.getElementById('live-query-state').textContent = ''")
        tab.value("document.getElementById('live-text').focus()")
        tab.value(f"document.getElementById('live-text').value = {sql!r}")
        tab.call("Input.dispatchKeyEvent", type="rawKeyDown", key="Enter", windowsVirtualKeyCode=13, modifiers=2)
        scene.until("!['', 'Running'].includes(document.getElementById('live-query-state').textContent)")
        return str(tab.value("document.getElementById('live-query-state').textContent"))

    assert run("SELECT 1 AS one, NULL AS nothing").startswith("1 row in")
    assert tab.value("[...document.querySelectorAll('#live-answer td')].map(one => one.textContent)") == ["1", "NULL"]
    assert "a query can only read" in run("DROP TABLE metrics")
    assert run("SELECT chr(60) || $$img src=x onerror=alert(1)>$$ AS attack").startswith("1 row in")
    assert tab.value("document.querySelectorAll('#live-answer img').length") == 0
    assert tab.value("document.querySelectorAll('#live-named option').length") > 30


@pytest.mark.thorough("a browser lays out a live page")
def test_a_built_in_query_is_copied_into_the_box(scene: Scene) -> None:
    scene.tab.value("(() => { const one = document.getElementById('live-named'); one.value = 'failures';"
                    "one.dispatchEvent(new Event('change')); })()")  # fmt: skip
    scene.until("document.getElementById('live-text').value.startsWith('-- failures:')")


def test_names_of_runs_are_text(scene: Scene) -> None:
    search = SearchState.parse({"name": ATTACK})
    scene.runs[:] = [replace(a_run(ATTACK), recipe=ATTACK, host=ATTACK, failures=(ATTACK,), searches=(search,))]
    scene.until("document.querySelector('.run h3').textContent.startsWith('<script>')")
    assert scene.tab.value("document.querySelectorAll('.run img, .run script').length") == 0
    scene.runs[:] = [a_run("one")]
    scene.until("document.querySelector('[data-run=one]') !== null")


@pytest.mark.thorough("serves a live page")
def test_a_new_report_keeps_filters_and_opened_parts(scene: Scene, store_changed: Callable[[], None]) -> None:
    tab = scene.tab
    tab.click("#filters details[data-filter=score] > summary")
    tab.click("#filters details[data-filter=score] input")
    tab.value("document.querySelector('#report #headline details').open = true")
    chosen = tab.value("document.querySelector('#filters input:checked').value")
    scene.report[0] = scene.report[0].replace("<h2>Questions</h2>", "<h2>Questions again</h2>")
    store_changed()
    scene.until("document.querySelector('#headline h2').textContent === 'Questions again'")
    assert tab.value("[...document.querySelectorAll('#filters input:checked')].map(one => one.value)") == [chosen]
    assert tab.value("document.querySelector('[data-filter=score] b').textContent") == chosen
    assert tab.value("document.querySelector('#report #headline details').open")
    tab.click("#filters button")
    tab.click("#live-follow-report")
    scene.report[0] = scene.report[0].replace("<h2>Questions again</h2>", "<h2>Third</h2>")
    store_changed()
    scene.until("!document.getElementById('live-show-report').hidden")
    assert tab.value("document.querySelector('#headline h2').textContent") == "Questions again"
    tab.click("#live-show-report")
    scene.until("document.querySelector('#headline h2').textContent === 'Third'")
    tab.click("#live-follow-report")


@pytest.fixture
def store_changed(scene: Scene) -> Callable[[], None]:
    """A function that lets the watcher believe that the catalog has changed."""

    def change() -> None:
        scene.server._watcher._rendered = "earlier"

    return change


@pytest.mark.thorough("serves a live page")
def test_a_tab_that_is_open_all_night_does_not_grow(scene: Scene, store_changed: Callable[[], None]) -> None:
    tab = scene.tab

    def counters() -> dict[str, int]:
        tab.call("HeapProfiler.collectGarbage")
        found = tab.call("Memory.getDOMCounters")
        return {name: found[name] for name in ("documents", "nodes", "jsEventListeners")}

    def night(n_updates: int) -> None:
        for number in range(n_updates):
            scene.runs[0] = a_run("one", n_done=number % 9, failures=("broken",) * (number % 3))
            scene.until(f"document.querySelector('[data-run=one] progress').value === {number % 9}")
            if number % 4 == 0:
                scene.report[0] = scene.report[0].replace("</h2>", f"</h2><!--{number}-->", 1)
                old = scene.server._watcher.report
                store_changed()
                scene.until(lambda old=old: scene.server._watcher.report != old)

    n_messages = len(tab.console_messages)  # of queries that were refused
    night(4)
    before = counters()
    night(12)
    after = counters()
    assert after["documents"] <= before["documents"] + 2
    assert after["jsEventListeners"] <= before["jsEventListeners"] + 20
    assert after["nodes"] <= before["nodes"] * 1.2
    assert len(tab.console_messages) == n_messages


@pytest.mark.thorough("a browser lays out a live page")
def test_dark_and_light_are_both_supported(scene: Scene) -> None:
    def background(scheme: str) -> str:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        scene.tab.call("Emulation.setEmulatedMedia", features=features)
        return str(scene.tab.value("getComputedStyle(document.body).backgroundColor"))

    assert background("dark") != background("light")


@pytest.mark.thorough("a browser lays out a live page")
def test_a_phone_scrolls_vertically_only(scene: Scene) -> None:
    scene.tab.resize(400)
    try:
        assert scene.tab.value("document.documentElement.scrollWidth") == 400
    finally:
        scene.tab.resize(1280)


def test_a_lost_server_is_noticed(scene: Scene) -> None:
    """The last test: it stops the server."""
    scene.server.should_exit = True
    scene.until("document.getElementById('live-connection').classList.contains('lost')")
