"""Measure the overhead of the engine: Ray compared with one process, and two replicas with one, as ratios of one run.

python tests/benchmarks/engine.py --out engine.json     a model of 8 of XGLM-564M's blocks: about ten minutes on 2 cores
python tests/benchmarks/engine.py --only shared         only jobs that two replicas share: about five minutes
python tests/benchmarks/engine.py --small               a tiny model, to check that the benchmark runs

Every run is the command line in its own process, on the same recipe: ten demonstration sets, each with one observation
pass, an ordering and a variant, and their comparison. The time of a run is from the start of its first job to the end
of its last, from its run log. It includes loading the model but not the start of Python, Ray and its workers.

A replica has one thread, as on a node with one CPU: the other rows run on a cluster of two such nodes, then of one. The
rows of shared jobs have one demonstration set of 100 demonstrations and a model of four blocks, and compare the time of
one job: the dense pass over the set, and the sequential sweep of one variant.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

from command_line import option_parser, write_figures  # noqa: E402 - the repository has to be importable first
from conditions import machine, moment  # noqa: E402
from inputs import FULL, PAIRS, SEEDS, SMALL, Size, write_inputs, write_recipe  # noqa: E402
from rows import HEAD, Row  # noqa: E402

from mlprune.store.store import Store  # noqa: E402
from tests.ray_cluster import Cluster, ray_cluster  # noqa: E402

BLOCKS = 8
MOST_SLOWER = 1.10
LEAST_FASTER = 1.8
SHARED = {"observe": 1.7, "sweep": 1.6}
"""Step of a job that replicas share -> how much faster two replicas must be."""
PROPAGATION = {"observe": "dense", "sweep": "sequential"}
GROUPS = ("overhead", "shared")


@dataclass
class Engine:
    """Timed runs of one recipe; `folder` contains model, corpus, recipes and stores."""

    folder: Path
    size: Size
    found: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Name of a run -> figures of each repetition."""

    def run(self, name: str, *, address: str, environment: Mapping[str, str], **compute: Any) -> None:
        """Run the recipe once more, into a new store."""
        number = len(self.found.setdefault(name, []))
        store = self.folder / f"{name}-{number}-store"
        self.run_into(store, name, recipe=self._recipe(name, compute), address=address, environment=environment)

    def run_into(self, store: Path, name: str, *, recipe: Path, address: str, environment: Mapping[str, str]) -> None:
        """Run a recipe; the figures are those of all runs of the store."""
        command = [sys.executable, "-m", "ray_jobs.cli", "run", str(recipe)]
        command += ["--store", str(store), "--address", address]
        settings = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
        done = subprocess.run(command, cwd=self.folder, env=settings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} ended {done.returncode}: {done.stderr[-3000:]}")
        figures = figures_of(Store(store))
        sys.stderr.write(f"{name}: {figures['seconds']:.1f} s\n")
        self.found.setdefault(name, []).append(figures)

    def seconds(self, name: str) -> float:
        """Median seconds of a run."""
        return median(one["seconds"] for one in self.found[name])

    def step_seconds(self, name: str, step: str) -> float:
        """Median seconds of the jobs of a step."""
        return median(one["steps"][step] for one in self.found[name])

    def shared_recipe(self, step: str, *, replicas: int) -> Path:
        """A recipe whose job of this step replicas can share."""
        compute = {"replicas": replicas, "shards": 1}
        return self._recipe(f"{step}-{replicas}", compute, propagation=PROPAGATION[step])

    def _recipe(self, name: str, compute: Mapping[str, Any], **choices: Any) -> Path:
        path = write_recipe(self.folder, name, size=self.size, **(choices or {"pairs": PAIRS, "seeds": SEEDS}))
        recipe = {**yaml.safe_load(path.read_text(encoding="utf-8")), "name": "engine", "compute": dict(compute)}
        path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
        return path


def figures_of(store: Store) -> dict[str, Any]:
    """Seconds from the start of the first job to the end of the last, and busy seconds of the workers per step."""
    jobs = [store.read_json(path) for path in store.list("runs") if path.rpartition("/")[2].startswith("job-")]
    begins = [datetime.fromisoformat(job["started_at"]).timestamp() for job in jobs]
    ends = [begin + job["elapsed_s"] for begin, job in zip(begins, jobs, strict=True)]
    steps: dict[str, float] = {}
    for job in jobs:
        steps[job["step"]] = round(steps.get(job["step"], 0.0) + job["elapsed_s"], 3)
    n_workers = len({job["worker"] for job in jobs})
    return {
        "seconds": round(max(ends) - min(begins), 3),
        "busy_seconds": round(sum(steps.values()), 3),
        "steps": steps,
        "n_jobs": len(jobs),
        "n_workers": n_workers,
        "peak_memory_gib": max(job["peak_memory_gib"] for job in jobs),
    }


def measure(engine: Engine, *, repeat: int) -> None:
    """Make all runs; compared runs follow each other."""
    for _ in range(repeat):
        engine.run("here", address="none", environment={})
        engine.run("ray", address="local", environment={}, replicas=1, shards=1)
    with ray_cluster() as cluster:
        second = cluster.nodes[1]
        for _ in range(repeat):
            _on(cluster, engine, "two", replicas=2)
        cluster.remove_node(second)
        for _ in range(repeat):
            _on(cluster, engine, "one", replicas=1)


def measure_shared(engine: Engine, *, repeat: int) -> None:
    """Run the jobs that replicas share, on two nodes and then on one."""
    with ray_cluster() as cluster:
        second = cluster.nodes[1]
        for replicas in (2, 1):
            for number in range(repeat):
                store = engine.folder / f"shared-{replicas}-{number}-store"
                for step in SHARED:  # the sweep finds the set and its dense statistics in the store
                    recipe = engine.shared_recipe(step, replicas=replicas)
                    where = {"address": cluster.address, "environment": cluster.settings}
                    engine.run_into(store, f"{step}-{replicas}", recipe=recipe, **where)
            if replicas == 2:
                cluster.remove_node(second)


def shared_rows(engine: Engine) -> list[Row]:
    """Rows of the jobs that replicas share."""
    names = {"observe": "the dense pass over one set", "sweep": "one sequential sweep"}
    found = []
    for step, least in SHARED.items():
        one, two = engine.step_seconds(f"{step}-1", step), engine.step_seconds(f"{step}-2", step)
        what = f"{names[step]}, of {engine.size.samples} demonstrations: two replicas of one thread against one"
        found.append(
            Row(
                f"shared-{step}",
                what,
                f"{one:.1f} s",
                f"{two:.1f} s",
                f"{one / two:.2f}x",
                f">= {least:g}x",
                one >= least * two,
            )
        )
    return found


def _on(cluster: Cluster, engine: Engine, name: str, **compute: Any) -> None:
    engine.run(name, address=cluster.address, environment=cluster.settings, shards=1, **compute)


def rows(engine: Engine) -> list[Row]:
    """Compared runs and required ratios."""
    here, ray = engine.seconds("here"), engine.seconds("ray")
    one, two = engine.seconds("one"), engine.seconds("two")
    return [
        Row(
            "ray",
            "a run over Ray with one replica against one process, same threads",
            f"{here:.1f} s",
            f"{ray:.1f} s",
            f"{ray / here:.2f}x",
            f"<= {MOST_SLOWER:g}x",
            ray <= MOST_SLOWER * here,
        ),
        Row(
            "replicas",
            "two replicas of one thread against one replica of one thread",
            f"{one:.1f} s",
            f"{two:.1f} s",
            f"{one / two:.2f}x",
            f">= {LEAST_FASTER:g}x",
            one >= LEAST_FASTER * two,
        ),
    ]


def main() -> None:
    """Measure, print the table and write the figures."""
    parser = option_parser(__doc__)
    parser.add_argument("--only", choices=GROUPS, help="measure only the rows of one group")
    parser.add_argument("--repeat", type=int, default=1, help="repeat each run N times and report the median")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder, which needs 2 GB")
    options = parser.parse_args()
    started = moment()
    groups = GROUPS if options.only is None else (options.only,)
    table, runs = [], {}
    for group in groups:
        size = SMALL if options.small else replace(FULL, blocks=BLOCKS)
        if group == "shared":
            size = replace(size, blocks=4, samples=100, lines=128)
        with tempfile.TemporaryDirectory(prefix="mlprune-engine-", dir=options.folder) as name:
            engine = Engine(Path(name), size)
            write_inputs(engine.folder, engine.size)
            (measure_shared if group == "shared" else measure)(engine, repeat=options.repeat)
        table += (shared_rows if group == "shared" else rows)(engine)
        runs |= engine.found
    print("\n".join([HEAD, *(row.line for row in table)]))
    conditions = {**machine(), "started": started, "ended": moment(), "repeat": options.repeat}
    write_figures(options.out, conditions=conditions, rows=[row.as_dict() for row in table], runs=runs)


if __name__ == "__main__":
    main()
