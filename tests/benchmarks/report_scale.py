"""Measure the report of a thousand variants: time, size, and how fast a browser opens and filters it.

python tests/benchmarks/report_scale.py --out report.html
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).parents[2]))

from catalog.ingest.insert_rows import refresh_all
from catalog.report import write_report
from catalog.store import Catalog
from catalog.store.database_file import FILE_NAME
from mlprune.store.store import Store
from tests.chromium import PROGRAM, Chromium

FILL = Path(__file__).with_suffix(".sql")


STEPS = ("demonstrate", "observe", "prune", "sweep", "evaluate", "compare")
N_JOBS, N_RUNS = 360, 3


def fill(store: Store) -> None:
    """Fill the catalog of an empty store with synthetic rows, and write run files."""
    assert store.local_root is not None
    for n in range(N_JOBS):
        store.write_run_file(f"run-{n % N_RUNS}", f"job-{n}", _job(n))
    failure = {
        "run_id": "run-0",
        "job_id": "lost",
        "step": "evaluate",
        "record_kind": "evaluations",
        "record_id": "none",
    }
    failure |= {"error": "StatisticsError", "message": "a made-up failure", "attempts": 3}
    store.write_run_file("run-0", "failure-0", failure | {"failed_at": "2026-01-01T02:00:00+00:00"})
    with Catalog.open(store) as catalog:
        catalog.fold()
    with duckdb.connect(str(store.local_root / FILE_NAME)) as connection:
        connection.execute(FILL.read_text("utf-8"))
        refresh_all(connection)  # as at the end of a fold
        connection.execute("CHECKPOINT")


def _job(n: int) -> dict[str, Any]:
    """Run log entry of a finished job."""
    step = STEPS[n // N_RUNS % len(STEPS)]
    names = {"run_id": f"run-{n % N_RUNS}", "job_id": f"job-{n}", "step": step, "record_kind": "variants"}
    where = {"record_id": f"record-{n}", "status": "done", "attempt": 1, "host": "host", "worker": "w0"}
    n_tokens = 100_000 if step in ("observe", "sweep", "evaluate") else 0
    cost = {"started_at": f"2026-01-01T00:{n % 60:02}:00+00:00", "elapsed_s": 10.0 + n % 7, "peak_memory_gib": 3.5}
    return names | where | cost | {"n_tokens": n_tokens}


def report_figures(store: Store, out: Path) -> dict[str, Any]:
    """Write the report and return its time and size."""
    with Catalog.open(store) as catalog:
        (n_variants,) = catalog.select("SELECT count(*) FROM variants").rows[0]
        started, cpu = perf_counter(), process_time()
        write_report(catalog, out)
    seconds, cpu = perf_counter() - started, process_time() - cpu
    size = round(out.stat().st_size / 1e6, 2)
    return {"variants": n_variants, "seconds": round(seconds, 1), "cpu_s": round(cpu, 1), "megabytes": size}


OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
CLICKED = """new Promise(done => {
    const box = document.querySelector('#filters input[name=%s]'), start = performance.now();
    box.click();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
"""Milliseconds from a click on the first value of a filter until the next frame is painted."""


def page_figures(page: Path) -> dict[str, Any]:
    """Time for headless Chromium to load the page and to respond to clicks on its filters."""
    with tempfile.TemporaryDirectory() as profile, Chromium(Path(profile)) as browser:
        tabs = [browser.open(page.resolve().as_uri()) for _ in range(3)]
        opened = [tab.value(OPENED) / 1000 for tab in tabs]
        clicks = [
            tabs[-1].call("Runtime.evaluate", expression=CLICKED % name, awaitPromise=True)["result"]["value"] / 1000
            for name in ("pair", "pair", "score", "score", "task", "task")
        ]
        n_elements = tabs[-1].value("document.querySelectorAll('*').length")
    return {
        "elements": n_elements,
        "opened_s": [round(seconds, 2) for seconds in opened],
        "clicks_s": [round(seconds, 3) for seconds in clicks],
    }


def main() -> None:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="keep the page in this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlprune-report-") as folder:
        store = Store(Path(folder) / "store")
        fill(store)
        out = options.out or Path(folder) / "report.html"
        figures = report_figures(store, out)
        print(json.dumps(figures | (page_figures(out) if PROGRAM else {}), indent=1))


if __name__ == "__main__":
    main()
