"""Measure how long a finished sweep takes to find that nothing is pending: plan, check of artefacts, catalog.

python tests/benchmarks/resume.py                   1,000 variants, about 15,000 records
python tests/benchmarks/resume.py --small           30 variants, to check that the benchmark runs

The recipe and its plan are real. A generator writes records and artefacts, because the measured commands read only
records and the names and sizes of artefacts. Each command runs in its own process, including imports, with records as
single files and compacted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

from mlprune.planning import Plan  # noqa: E402
from mlprune.store.compaction import compact  # noqa: E402 - the repository has to be importable first
from mlprune.store.records import Artefact, Record  # noqa: E402
from mlprune.store.store import Store  # noqa: E402
from tests.tiny_recipes import plan_of, tiny_recipe, write_inputs, write_recipe  # noqa: E402

FOLDERS = {
    "demonstration_sets": "demonstrations",
    "statistics": "statistics",
    "mask_blocks": "masks",
    "evaluations": "predictions",
}
"""Record kind -> folder of its artefacts."""


def sweep_recipe(*, n_seeds: int, n_sparsities: int) -> dict[str, Any]:
    """Wanda on two languages and random pruning, with several seeds, on a grid of sparsities."""
    recipe = tiny_recipe()
    seeds = list(range(n_seeds))
    sparsities = [round((n + 1) / (2 * n_sparsities), 6) for n in range(n_sparsities)]
    recipe["demonstrations"] = [{**recipe["demonstrations"][0], "seed": seeds}]
    recipe["variants"] = [
        {"name": "wanda", "demonstrations": "mt", "score": "wanda", "sparsity": sparsities, "propagation": "dense"},
        {"name": "random", "score": "random", "sparsity": sparsities[:: max(1, n_sparsities // 20)], "seed": seeds},
    ]
    recipe["evaluations"] = [recipe["evaluations"][0]]
    return recipe


def finish(plan: Plan, store: Store) -> int:
    """Write records and artefacts like those of a finished run, with other content; return the number of records."""
    n_records = 0
    with patch("os.fsync", lambda _: None):
        for job in plan.jobs:
            for kind, record_id in dict.fromkeys(job.makes):
                artefacts = tuple(_artefacts(store, kind, record_id))
                rows = _rows(kind, record_id)
                store.write_record(Record(kind, record_id, 1, {"made": "up"}, artefacts=artefacts, rows=rows))
                n_records += 1
        store.write_record(plan.record)
    return n_records + 1


def _artefacts(store: Store, kind: str, record_id: str) -> Iterator[Artefact]:
    if kind in FOLDERS:
        yield store.write_bytes(f"{FOLDERS[kind]}/{record_id}.parquet", record_id.encode() * 20, n_rows=1)


def _rows(kind: str, record_id: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of the usual size."""
    if kind != "evaluations":
        return {}
    keys = {"evaluation_id": record_id, "variant_id": record_id, "task": "facts", "language": "fr", "split": "test"}
    names = ("accuracy", "f1_macro", "f1_weighted", "precision_macro", "recall_macro", "ece")
    return {
        "evaluations": [{**keys, "scoring_rule": "mean", "protocol_id": "facts", "n_examples": 100}],
        "metrics": [
            {**keys, "metric": name, "value": 0.5, "ci_low": 0.25, "ci_high": 0.75, "n": 100} for name in names
        ],
    }


def timed(command: str, recipe: Path, store: Store, *, repeat: int) -> dict[str, Any]:
    """Seconds of a whole command over several runs."""
    more = ["--address", "none"] if command == "run" else []
    arguments = [sys.executable, "-m", "ray_jobs.cli", command, str(recipe), "--store", store.uri, *more]
    seconds, text = [], ""
    for _ in range(repeat):
        started = perf_counter()
        done = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, check=False, env=os.environ)
        if done.returncode:
            raise SystemExit(f"{command} ended {done.returncode}: {done.stderr}")
        seconds.append(round(perf_counter() - started, 2))
        text = done.stdout + done.stderr
    if "nothing to do" not in text and ", 0 to do" not in text:
        raise SystemExit(f"the sweep is not finished: {text}")
    return {"median_s": median(seconds), "all_s": seconds}


def main() -> None:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--small", action="store_true", help="30 variants, to check that the benchmark runs")
    parser.add_argument("--repeat", type=int, default=3, help="number of runs of each command")
    parser.add_argument("--keep", type=Path, help="create the store in this folder and keep it")
    options = parser.parse_args()
    shape = {"n_seeds": 3, "n_sparsities": 3} if options.small else {"n_seeds": 10, "n_sparsities": 40}
    with tempfile.TemporaryDirectory(prefix="mlprune-resume-") as temporary:
        folder = options.keep or Path(temporary)
        recipe = write_recipe(write_inputs(folder), sweep_recipe(**shape))
        store, plan = Store(folder / "store"), plan_of(recipe)
        figures: dict[str, Any] = {"variants": len(plan.variants), "jobs": len(plan.jobs)}
        figures["records"] = finish(plan, store)
        timed("run", recipe, store, repeat=1)  # folds the records into the catalog
        for state in ("files", "compacted"):
            if state == "compacted":
                compact(store)
            figures[state] = {name: timed(name, recipe, store, repeat=options.repeat) for name in ("plan", "run")}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
