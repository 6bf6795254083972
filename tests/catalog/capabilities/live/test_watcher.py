"""Following a store: versions of the state, runs, best variants and report while a page is open."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from catalog.capabilities.live import watcher as watcher_module
from catalog.capabilities.live.watcher import (
    LiveState,
    Pace,
    Watcher,
    best_tables,
    curve_content,
    run_content,
    runs_reader,
)
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from catalog.store.live_catalog import LiveCatalog
from mlprune.errors import StoreError
from mlprune.store.store import Store
from ray_jobs.driver.run_log import RunLog
from tests.catalog.capabilities.live.asgi import PATIENCE_S
from tests.catalog.capabilities.live.conftest import a_run, write_page
from tests.catalog.store_processes import small_record
from tests.mlprune.store.test_run_status import begin, log


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read everything again at once."""
    for name in ("RUNS", "CATALOG", "REPORT"):
        monkeypatch.setattr(watcher_module, name, Pace(0.01, 0.0))
    monkeypatch.setattr(watcher_module, "AFTER_ERROR_S", 0.01)


class Followed:
    """A watcher that follows a store, and its state."""

    def __init__(self, catalog: LiveCatalog, folder: Path, **options: Any) -> None:
        self.state = LiveState()
        chosen = {"read_runs": lambda: [a_run()], "render_report": write_page} | options
        self.watcher = Watcher(catalog, self.state, folder=folder, **chosen)

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the state meets a condition; return it."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(content := dict(self.state.content)):
                self.watcher.note_request()
                await asyncio.sleep(0.01)
        return content


def follow(followed: Callable[[], Followed], check: Callable[[Followed], Any]) -> None:
    """Run a watcher, and meanwhile a check, which ends if the watcher fails."""

    async def run() -> None:
        made = followed()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(made.watcher.run())
            await check(made)
            task.cancel()

    asyncio.run(run())


def test_runs_results_and_report_become_part_of_the_state(live_catalog: LiveCatalog, tmp_path: Path) -> None:
    async def check(made: Followed) -> None:
        content = await made.until(lambda content: "report" in content)
        assert content["runs"][0]["steps"] == [{"name": "prune", "n_jobs": 10, "n_done": 3, "n_failed": 0}]
        assert content["estimates"] == {"runs": {"run": {"share": 0.3, "remaining_s": 70.0}}}
        assert content["catalog"]["is_ready"]
        assert content["catalog"]["overview"]["n_variants"] > 0
        assert any("accuracy, dev split" in table["title"] for table in content["best"])
        assert made.watcher.report is not None
        assert content["report"]["version"] == made.watcher.report.version
        assert list(tmp_path.iterdir()) == []

    follow(lambda: Followed(live_catalog, tmp_path), check)


@pytest.mark.thorough("serves a live page")
def test_new_records_change_the_results_and_the_report(tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "store"), tmp_path / "live"
    folder.mkdir()
    catalog = LiveCatalog(store, folder)
    rendered: list[str] = []

    def render(out: Path, _: Event) -> None:
        rendered.append("once")
        out.write_text(f"<main>{len(rendered)}</main>")

    async def check(made: Followed) -> None:
        content = await made.until(lambda content: "report" in content)
        assert content["catalog"]["overview"]["n_models"] == 0
        version = content["report"]["version"]
        store.write_record(small_record(1))
        await made.until(lambda content: content["report"]["version"] != version)
        assert made.state.content["catalog"]["overview"]["n_models"] == 1  # type: ignore[index, call-overload]
        assert len(rendered) == 2
        await asyncio.sleep(0.1)
        assert len(rendered) == 2

    follow(lambda: Followed(catalog, folder, render_report=render), check)
    catalog.close()
    assert not (tmp_path / "store" / "catalog.duckdb").exists()


def test_an_error_is_shown_until_it_is_gone(live_catalog: LiveCatalog, tmp_path: Path) -> None:
    outcomes: list[Any] = [StoreError("the store does not answer\x1b"), OSError(5, "lost"), LookupError("odd"), []]

    def read() -> Any:
        outcome = outcomes[0] if len(outcomes) == 1 else outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def check(made: Followed) -> None:
        content = await made.until(lambda content: content.get("runs_error"))
        assert "\x1b" not in content["runs_error"]
        content = await made.until(lambda content: "runs" in content and content["runs_error"] is None)
        assert content["runs"] == []

    follow(lambda: Followed(live_catalog, tmp_path, read_runs=read), check)


def test_a_report_that_fails_leaves_the_rest(live_catalog: LiveCatalog, tmp_path: Path) -> None:
    def fail(out: Path, _: Event) -> None:
        out.write_text("half")
        raise StoreError("the report cannot be rendered")

    async def check(made: Followed) -> None:
        content = await made.until(lambda content: content.get("report_error") and "best" in content)
        assert "rendered" in content["report_error"]
        assert content["report_is_rendering"] is False
        assert made.watcher.report is None

    follow(lambda: Followed(live_catalog, tmp_path, render_report=fail), check)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_read_while_no_page_is_open(
    live_catalog: LiveCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "WATCHED_S", 0.1)
    calls: list[str] = []

    def read() -> list[Any]:
        calls.append("read")
        return []

    async def check(made: Followed) -> None:
        await asyncio.sleep(0.05)
        assert calls == []
        await made.until(lambda content: "runs" in content)
        async with asyncio.timeout(PATIENCE_S):
            n_calls = 0
            while n_calls != len(calls):
                n_calls = len(calls)
                await asyncio.sleep(0.3)

    follow(lambda: Followed(live_catalog, tmp_path, read_runs=read), check)


def test_a_slow_part_is_read_more_rarely() -> None:
    assert Pace(0.5, 4.0).pause_s(0.01) == 0.5
    assert Pace(0.5, 4.0).pause_s(2.0) == 8.0


def test_a_store_without_runs_has_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert runs_reader(store)() == []
    assert not (tmp_path / "store").exists()


def test_a_run_is_followed_until_it_ends(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run_log, read = begin(store, started=datetime.now(UTC)), runs_reader(store)
    (run,) = read()
    assert (run.recipe, run.host, run.state, run.advice) == ("tiny", "node", "running", "")
    assert [(name, step.n_jobs, step.n_done, step.n_failed) for name, step in run.steps.items()] == [("prune", 4, 0, 0)]
    log(run_log, "a")
    log(run_log, "b", "failed")
    (run,) = read()
    assert [(step.n_done, step.n_failed) for step in run.steps.values()] == [(1, 1)]
    assert len(run.failures) == 1
    run_log.end("failed")
    (run,) = read()
    assert (run.state, run.remaining_s) == ("failed", None)
    assert "retry" in run.advice


def test_the_newest_runs_are_shown(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for n in range(8):
        RunLog(store, f"2026010{n + 1}T000000-abc123").start([])
        store.write_run_file(f"2026010{n + 1}T000000-abc123", "run", {"recipe": str(n), "started_at": "2026-01-01"})
    assert [run.recipe for run in runs_reader(store)()] == ["7", "6", "5", "4", "3"]


def test_the_best_variants_have_the_largest_means_outside_english(
    catalog: Catalog, rows: dict[str, list[dict[str, Any]]]
) -> None:
    found = [
        row
        for row in run_report_query(catalog, "best_on_dev").rows
        if (row["task"], row["metric"]) == ("facts", "accuracy")
    ]
    values: dict[str, list[float]] = {}
    for row in rows["metrics"]:
        if (row["task"], row["split"], row["metric"]) == ("facts", "dev", "accuracy") and row["language"] != "en":
            values.setdefault(row["variant_id"], []).append(row["value"])
    dense = {
        row["variant_id"] for row in catalog.query("FROM described_variants WHERE is_dense OR intervention IS NOT NULL")
    }
    n_languages = max(map(len, values.values()))
    means = sorted(
        (
            sum(members) / len(members)
            for variant, members in values.items()
            if variant not in dense and len(members) == n_languages
        ),
        reverse=True,
    )
    assert [round(row["value"], 9) for row in found] == [round(mean, 9) for mean in means[:5]]
    assert [row["place"] for row in found] == [1, 2, 3, 4, 5]
    assert found[0]["n_variants"] == len(means)
    assert found[0]["dense_value"] is not None


def test_a_table_per_task_and_metric_states_values_and_changes(catalog: Catalog) -> None:
    tables: list[Any] = best_tables(run_report_query(catalog, "best_on_dev").rows)
    titles = [table["title"] for table in tables]
    assert len(set(titles)) == len(titles) > 0
    table = next(table for table in tables if "facts, accuracy, dev split" in table["title"])
    assert len(table["rows"]) == 5
    assert set(table["rows"][0]) == {"label", "value", "change"}


def test_perplexity_is_compared_as_a_ratio_and_names_are_escaped() -> None:
    row: dict[str, Any] = {
        "base_model_id": "b",
        "base_model": "m\x1b",
        "task": "text",
        "metric": "perplexity",
        "scoring_rule": "sum",
    }
    row |= {"example_limit": 8, "n_variants": 1, "n_languages": 2, "label": "<b>\u202e", "value": 30.0}
    row |= {"dense_value": 20.0}
    (table,) = best_tables([row])
    assert table == {
        "title": "m\\x1b · text, perplexity, dev split, 8 examples",
        "note": "1 variant evaluated in 2 languages; scoring rule sum",
        "dense": "20.000",
        "rows": [{"label": "<b>\\u202e", "value": "30.000", "change": "×1.500"}],
    }
    (table,) = best_tables([{**row, "dense_value": None}])
    assert table["rows"][0]["change"] == "–"  # type: ignore[index, call-overload]


def test_without_results_there_is_no_table_and_no_curve() -> None:
    assert best_tables([]) == []
    assert curve_content([]) is None


def test_without_dev_the_curve_says_that_it_is_of_test(catalog: Catalog) -> None:
    rows = [{**row, "split": "test"} for row in run_report_query(catalog, "live_curve").rows]
    curve: Any = curve_content(rows)
    assert curve["split"] == "test"
    assert "test split" in curve["title"]


def test_the_curve_has_the_mean_of_each_method_outside_english(catalog: Catalog) -> None:
    rows = run_report_query(catalog, "live_curve").rows
    curve: Any = curve_content(rows)
    assert ("facts, accuracy, dev split" in curve["title"], curve["note"]) == (
        True,
        "mean over 3 languages other than English, 6 of 7 methods",
    )
    assert curve["split"] == "dev"
    assert all(line["colour"].startswith("var(--m") and line["shape"].startswith("M") for line in curve["lines"])
    (dense,) = [row for row in rows if row["is_dense"]]
    assert curve["dense"] == dense["value"]
    magnitude = next(line for line in curve["lines"] if line["label"] == "magnitude")
    means = catalog.query(
        "SELECT v.sparsity, avg(m.value) AS value FROM metrics AS m JOIN described_variants AS v USING (variant_id) "
        "WHERE v.score = 'magnitude' AND v.settings IS NULL AND m.task = 'facts' AND m.split = 'dev' "
        "AND m.metric = 'accuracy' AND m.profile = 'corrected' AND m.language <> 'en' GROUP BY ALL ORDER BY ALL"
    )
    assert [sparsity for sparsity, _ in magnitude["points"]] == [row["sparsity"] for row in means]
    assert [value for _, value in magnitude["points"]] == pytest.approx([row["value"] for row in means])


def test_the_page_shows_the_parts_of_running_jobs() -> None:
    run = replace(a_run(), working_on=("sweep wanda (block 6 of 10)",))
    assert run_content(run, {})["working_on"] == ["sweep wanda (block 6 of 10)"]


def test_equal_content_keeps_the_version_and_its_estimates() -> None:
    async def check() -> None:
        state = LiveState()
        assert await state.put("runs", [{"n_done": 1}], estimates={"run": 60.0})
        version = state.version
        assert not await state.put("runs", [{"n_done": 1}], estimates={"run": 59.0})
        assert state.version == version
        assert state.content == {"runs": [{"n_done": 1}], "estimates": {"runs": {"run": 60.0}}}
        assert await state.put("runs", [{"n_done": 2}])
        assert state.version != version
        assert state.content == {"runs": [{"n_done": 2}], "estimates": {}}

    asyncio.run(check())


def test_a_request_waits_for_a_change_and_no_longer() -> None:
    async def check() -> None:
        state = LiveState()
        await state.put("runs", 1)
        version = state.version
        waiting = asyncio.create_task(state.wait_for_change(version, seconds=30))
        await asyncio.sleep(0)
        await state.put("runs", 1)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await state.put("best", 2)
        assert await asyncio.wait_for(waiting, 1)
        assert not await state.wait_for_change(state.version, seconds=0.01)

    asyncio.run(check())


def test_closing_ends_every_wait() -> None:
    async def check() -> None:
        state = LiveState()
        await state.put("runs", 1)
        waits = [asyncio.create_task(state.wait_for_change(state.version, seconds=30)) for _ in range(3)]
        await asyncio.sleep(0.01)
        await state.close()
        assert await asyncio.wait_for(asyncio.gather(*waits), 1) == [False] * 3

    asyncio.run(check())
