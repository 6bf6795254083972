"""Follow a store while a page is open: the runs, the catalog with the best variants, and the report, each at its pace.

The state that the page shows has a version, which requests wait for.

A page asks for news all the time. Without such requests for `WATCHED_S` nothing is read, so a forgotten server costs
nothing. A part that takes long is read more rarely, so that the server never uses much of a machine that also runs a
driver.
"""

import asyncio
import gzip
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from time import monotonic
from typing import TypeVar

from catalog.capabilities.live.report_child import RenderReport
from catalog.report.exhibits import grouped
from catalog.report.labels import METRIC_LABELS, number
from catalog.report.query_results import run_report_query
from catalog.report.styles import METHOD, SHAPES, method_styles, on_page
from catalog.results import Row, visible
from catalog.store import Catalog
from catalog.store.live_catalog import LiveCatalog
from mlprune.counted import counted
from mlprune.errors import MlpruneError, StoreError, reason_of
from mlprune.json_values import JsonObject, JsonValue
from mlprune.store.run_status import RunStatus, StatusReader, with_labels
from mlprune.store.store import Store
from mlprune.timestamps import timestamp

MAX_FAILURES = 50
"""Failures that the page lists; it states the number of all."""
logger = logging.getLogger(__name__)
MAX_LINES = 6
"""Maximum number of methods in the curve."""
N_RUNS = 5
"""Newest runs that the page shows, in addition to all active ones."""
Answer = TypeVar("Answer")
WATCHED_S = 60.0
"""Time after a request for which the store is still followed."""
AFTER_ERROR_S = 5.0
CATALOG_WAIT_S = 60.0


@dataclass(frozen=True)
class Pace:
    """How often a part is read."""

    every_s: float
    cost_factor: float
    """The pause is at least this many times as long as the reading took."""

    def pause_s(self, elapsed_s: float) -> float:
        """Return the pause after a reading that took some seconds."""
        return max(self.every_s, self.cost_factor * elapsed_s)


RUNS, CATALOG, REPORT = Pace(0.4, 4.0), Pace(0.5, 4.0), Pace(20.0, 8.0)


def run_content(run: RunStatus, labels: Mapping[str, str]) -> JsonObject:
    """Return what the page shows of a run, without the estimates of its share and time, which change all the time.

    Args:
        labels: id of a variant -> label.
    """
    return {
        "id": visible(run.run_id),
        "name": visible(run.recipe),
        "host": visible(run.host),
        "state": run.state,
        "advice": run.advice,
        "started_at": timestamp(run.started_at),
        "last_seen_at": None if run.state == "running" else timestamp(run.last_seen_at),
        "steps": [
            {"name": visible(name), "n_jobs": step.n_jobs, "n_done": step.n_done, "n_failed": step.n_failed}
            for name, step in run.steps.items()
        ],
        "failures": [visible(failure) for failure in run.failures[:MAX_FAILURES]],
        "n_failures": len(run.failures),
        "searches": [visible(search.describe()) for search in run.searches],
        "working_on": [visible(with_labels(work, labels.get)) for work in run.working_on],
        "n_retried": run.n_retried,
    }


@dataclass(frozen=True)
class Part:
    """One part of the state, such as the runs."""

    content: JsonValue
    """What the page shows; a change of it makes a new version."""
    estimates: JsonObject
    """Values that change all the time and make no new version."""


class LiveState:
    """Named parts of the state. Belongs to one event loop: all methods are called there."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}
        self._changed = asyncio.Condition()
        self._is_closed = False
        self.version = ""
        """Changes whenever the content of a part does."""

    @property
    def content(self) -> JsonObject:
        """The parts by name, with the estimates below `estimates`."""
        parts = {name: part.content for name, part in self._parts.items()}
        estimates = {name: part.estimates for name, part in self._parts.items() if part.estimates}
        return {**parts, "estimates": estimates}

    async def put(self, name: str, content: JsonValue, *, estimates: JsonObject | None = None) -> bool:
        """Replace a part, and wake the requests that wait if its content has changed; return whether it has.

        The estimates of equal content are not replaced, so that they belong to the version that a page has.
        """
        known = self._parts.get(name)
        if known is not None and known.content == content:
            return False
        self._parts[name] = Part(content, estimates or {})
        texts = json.dumps({key: part.content for key, part in sorted(self._parts.items())})
        self.version = hashlib.sha256(texts.encode()).hexdigest()[:20]
        async with self._changed:
            self._changed.notify_all()
        return True

    async def wait_for_change(self, version: str, *, seconds: float) -> bool:
        """Wait until the version is another one, at most some seconds; return whether it is."""

        def has_news() -> bool:
            return self._is_closed or self.version != version

        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(has_news)
        except TimeoutError:
            return False
        return self.version != version

    async def close(self) -> None:
        """Let all requests stop waiting."""
        self._is_closed = True
        async with self._changed:
            self._changed.notify_all()


def best_tables(rows: Sequence[Row]) -> list[JsonValue]:
    """Return a table for each base model, task, metric and way of evaluating.

    Args:
        rows: result of `best_on_dev.sql`.
    """
    return [
        _table(members)
        for _, members in grouped(rows, "base_model_id", "task", "metric", "scoring_rule", "example_limit")
    ]


def _table(rows: Sequence[Row]) -> JsonValue:
    first = rows[0]
    limit = f", {first['example_limit']} examples" if first["example_limit"] else ""
    variants, languages = counted(first["n_variants"], "variant"), counted(first["n_languages"], "language")
    return {
        "title": visible(
            f"{first['base_model']} · {first['task']}, {METRIC_LABELS[first['metric']]}, dev split{limit}"
        ),
        "note": visible(f"{variants} evaluated in {languages}; scoring rule {first['scoring_rule']}"),
        "dense": number(first["dense_value"]),
        "rows": [
            {
                "label": visible(str(row["label"])),
                "value": number(row["value"]),
                "change": _change(row),
            }
            for row in rows
        ],
    }


def _change(row: Row) -> str:
    """Return the difference to dense, for perplexity the ratio; a dash if dense is not evaluated yet."""
    if row["dense_value"] is None:
        return "–"
    if row["metric"] == "perplexity":
        return f"×{number(row['value'] / row['dense_value'])}"
    return number(row["value"] - row["dense_value"], signed=True)


def curve_content(rows: Sequence[Row]) -> JsonValue:
    """Return the curve of the results so far; None without a result.

    Args:
        rows: result of `live_curve.sql`.
    """
    if not rows:
        return None
    first = rows[0]
    pruned = [row for row in rows if not row["is_dense"]]
    styles = method_styles(pruned)
    lines: list[JsonValue] = []
    for method, members in grouped(pruned, *METHOD):
        style = styles[method]
        points: list[JsonValue] = [[row["sparsity"], row["value"]] for row in members]
        look: JsonObject = {
            "colour": on_page(style.colour),
            "shape": SHAPES[style.marker],
            "is_hollow": style.is_hollow,
        }
        lines.append({"label": visible(style.name), "points": points, **look})
    dense = next((row["value"] for row in rows if row["is_dense"]), None)
    title = f"{first['base_model']} · {first['task']}, {METRIC_LABELS[first['metric']]}, {first['split']} split"
    note = f"mean over {counted(first['n_languages'], 'language')}" + (
        " other than English" if first["is_outside"] else ""
    )
    note += f", {MAX_LINES} of {len(lines)} methods" if len(lines) > MAX_LINES else ""
    shown: JsonObject = {"dense": dense, "lines": lines[:MAX_LINES], "split": visible(str(first["split"]))}
    return {"title": visible(title), "note": note, **shown}


@dataclass(frozen=True)
class _Results:
    """What the page shows of the catalog."""

    snapshot: str
    counts: JsonValue
    labels: dict[str, str]
    best: JsonValue
    curve: JsonValue


def runs_reader(store: Store) -> Callable[[], Sequence[RunStatus]]:
    """Return a function that reads the newest runs, and none if no run has written to the store."""
    reader = StatusReader(store)

    def read() -> Sequence[RunStatus]:
        try:
            return reader.read(last=N_RUNS)
        except StoreError:
            return []

    return read


@dataclass(frozen=True)
class ReportPage:
    """The newest report."""

    version: str
    compressed: bytes
    """The HTML, compressed with gzip."""


class Watcher:
    """Reads the parts of the state in threads. Belongs to one event loop.

    Args:
        read_runs: returns the newest runs; called in a thread.
        render_report: called in a thread.
        folder: a folder for temporary files.
    """

    def __init__(
        self,
        catalog: LiveCatalog,
        state: LiveState,
        *,
        read_runs: Callable[[], Sequence[RunStatus]],
        render_report: RenderReport,
        folder: Path,
    ) -> None:
        self._catalog, self._state = catalog, state
        self._read_runs, self._render_report = read_runs, render_report
        self._folder = folder
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="serve-watch")
        self._asked_at = float("-inf")
        self._asked = asyncio.Event()
        self._stopped = Event()
        self._snapshot = ""
        """Of the catalog."""
        self._labels: dict[str, str] = {}
        """Id of a variant -> label."""
        self._rendered = ""
        """Snapshot of the catalog from which the report was rendered."""
        self.report: ReportPage | None = None

    def note_request(self) -> None:
        """Note that a page is open."""
        self._asked_at = monotonic()
        self._asked.set()

    async def run(self) -> None:
        """Follow the store until the task is cancelled."""
        followed = (
            self._follow("runs", self._update_runs, RUNS),
            self._follow("catalog", self._update_catalog, CATALOG),
            self._follow("report", self._update_report, REPORT),
        )
        try:
            await asyncio.gather(*followed)
        finally:
            self._stopped.set()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self, name: str, update: Callable[[], Awaitable[bool]], pace: Pace) -> None:
        """Update one part again and again, while a page is open.

        Args:
            update: returns whether it did anything; otherwise the next update follows soon.
        """
        while True:
            await self._wait_until_watched()
            started = monotonic()
            try:
                has_worked = await update()
            except Exception as err:  # the page shows it, and the store is followed all night
                logger.info("%s cannot be read now", name, exc_info=True)
                text = str(err) if isinstance(err, MlpruneError) else reason_of(err)
                await self._state.put(f"{name}_error", visible(text))
                await asyncio.sleep(AFTER_ERROR_S)
                continue
            await self._state.put(f"{name}_error", None)
            await asyncio.sleep(pace.pause_s(monotonic() - started) if has_worked else RUNS.every_s)

    async def _wait_until_watched(self) -> None:
        while monotonic() - self._asked_at > WATCHED_S:
            self._asked.clear()
            await self._asked.wait()

    async def _in_thread(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _update_runs(self) -> bool:
        runs = await self._in_thread(self._read_runs)
        content: list[JsonValue] = [run_content(run, self._labels) for run in runs]
        estimates: dict[str, JsonValue] = {
            visible(run.run_id): {"share": round(run.estimate.share, 3), "remaining_s": run.estimate.remaining_s}
            for run in runs
            if run.estimate is not None
        }
        await self._state.put("runs", content, estimates=estimates)
        return True

    async def _update_catalog(self) -> bool:
        if self._snapshot == "":
            await self._state.put("catalog", {"is_ready": False})
        if not await self._in_thread(self._catalog.refresh) and self._snapshot:
            return True
        results = await self._in_thread(self._read_results)
        self._snapshot, self._labels = results.snapshot, results.labels
        await self._state.put("best", results.best)
        await self._state.put("curve", results.curve)
        await self._state.put("catalog", {"is_ready": True, "snapshot": results.snapshot, "overview": results.counts})
        return True

    def _read_results(self) -> "_Results":
        def read(catalog: Catalog) -> _Results:
            (overview,) = run_report_query(catalog, "overview").rows
            counts = {name: int(overview[name]) for name in ("n_models", "n_variants", "n_evaluations", "n_failures")}
            labels = {row["variant_id"]: row["label"] for row in run_report_query(catalog, "live_labels").rows}
            best = best_tables(run_report_query(catalog, "best_on_dev").rows)
            curve = curve_content(run_report_query(catalog, "live_curve").rows)
            return _Results(catalog.snapshot_id(), counts, labels, best, curve)

        return self._catalog.use(read, wait_s=CATALOG_WAIT_S)

    async def _update_report(self) -> bool:
        snapshot = self._snapshot
        if snapshot in ("", self._rendered):
            return False
        await self._state.put("report_is_rendering", True)
        try:
            self.report = await self._in_thread(self._render)
        finally:
            await self._state.put("report_is_rendering", False)
        self._rendered = snapshot
        now = timestamp(datetime.now(UTC))
        await self._state.put("report", {"version": self.report.version, "made_at": now})
        return True

    def _render(self) -> ReportPage:
        out = self._folder / "report.html"
        try:
            self._render_report(out, self._stopped)
            content = out.read_bytes()
        finally:
            with suppress(OSError):
                out.unlink()
        return ReportPage(hashlib.sha256(content).hexdigest()[:20], gzip.compress(content, compresslevel=5, mtime=0))
