"""Measure the live page of a thousand variants: from a finished job to its paint in the browser, and the server's load.

python tests/benchmarks/live_page.py
"""

import json
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from catalog.capabilities.live.report_child import render_in_child
from catalog.capabilities.live.server import Sources
from catalog.capabilities.live.watcher import runs_reader
from mlprune.store.run_log_files import write_pack
from mlprune.store.store import Store
from tests.benchmarks.report_scale import fill
from tests.catalog.capabilities.live.test_server import running
from tests.chromium import Chromium, Page

N_JOBS, N_UPDATES = 10_000, 12
RUN = "20990101T000000-aaaaaa"
PAINTED = """new Promise(done => {
    const bar = document.querySelector('[data-run="%s"] progress');
    const painted = () => requestAnimationFrame(() => setTimeout(() => done(Date.now())));
    const look = () => bar.value >= %d ? painted() : setTimeout(look, 2);
    look();
})"""
"""The time at which a number of finished jobs has been painted."""


def job(number: int) -> dict[str, Any]:
    """The log entry of a finished job."""
    row = {"run_id": RUN, "job_id": f"j{number}", "step": "evaluate", "status": "done", "host": "h", "worker": "w"}
    row |= {"record_kind": "evaluations", "record_id": f"j{number}", "attempt": 1, "elapsed_s": 1.0}
    return row | {"started_at": datetime.now(UTC).isoformat()}


def start_run(store: Store, n_jobs: int) -> None:
    """Write the log of a run that has finished some jobs: packs of a thousand, and single files."""
    now = datetime.now(UTC).isoformat()
    store.write_run_file(RUN, "run", {"recipe": "sweep", "host": "h", "address": "auto", "started_at": now})
    store.write_run_file(RUN, "planned", {"jobs": {"evaluate": 2 * n_jobs}, "process": "", "planned_at": now})
    packed = n_jobs - n_jobs % 1_000 - 500
    for first in range(0, packed, 1_000):
        write_pack(store, RUN, [(f"job-{n}", job(n)) for n in range(first, min(first + 1_000, packed))])
    for number in range(packed, n_jobs):
        store.write_run_file(RUN, f"job-{number}", job(number))


def paint_s(store: Store, tab: Page, number: int) -> float:
    """Write a finished job, and return the seconds until the page shows it."""
    started = datetime.now(UTC).timestamp()
    store.write_run_file(RUN, f"job-{number}", job(number))
    expression = PAINTED % (RUN, number + 1)
    answer = tab.call("Runtime.evaluate", expression=expression, awaitPromise=True)
    return float(answer["result"]["value"]) / 1000 - started


def status_figures(store: Store) -> dict[str, float]:
    """CPU seconds of the first and of a later reading of the runs."""
    read, seconds = runs_reader(store), []
    for _ in range(6):
        started = process_time()
        read()
        seconds.append(process_time() - started)
    return {"first_reading_cpu_s": round(seconds[0], 3), "later_reading_cpu_s": round(min(seconds[1:]), 4)}


def main() -> None:
    """Measure and print the figures as JSON."""
    with tempfile.TemporaryDirectory(prefix="mlprune-live-") as folder:
        store = Store(Path(folder) / "store")
        fill(store)
        start_run(store, N_JOBS)
        figures: dict[str, Any] = status_figures(store)
        sources = Sources(store, read_runs=runs_reader(store), render_report=render_in_child(store.uri))
        with running(sources) as server, Chromium(Path(folder) / "profile") as chromium:
            started = perf_counter()
            tab = chromium.open(server.address)
            while not tab.value("document.querySelectorAll('#report section').length > 5"):
                sleep(0.2)
            figures["report_shown_s"] = round(perf_counter() - started, 1)
            sleep(2.0)
            cpu, started = process_time(), perf_counter()
            paints = [paint_s(store, tab, N_JOBS + number) for number in range(N_UPDATES)]
            figures["server_cpu_share"] = round((process_time() - cpu) / (perf_counter() - started), 2)
            figures["update_to_paint_s"] = {"median": round(statistics.median(paints), 2), "max": round(max(paints), 2)}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
