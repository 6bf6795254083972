"""Measure how much longer a dense pass takes that also observes Gram matrices: time, CPU time and memory.

python tests/benchmarks/observation.py             four blocks of the shape of XGLM-564M, 2 threads
python tests/benchmarks/observation.py --small     a tiny model, to check that the benchmark runs

Weights are random. Both passes observe the same demonstrations, of 40 to 80 % of 512 tokens, in one process that has
loaded the model; the usual pass and the pass with Gram matrices alternate. Files are written.
"""

import argparse
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, Size, write_inputs
from process import measured, memory_bytes

from mlprune.models.local_chain import local_chain
from mlprune.planning import Plan, build_plan
from mlprune.processes.parallel import set_worker_threads
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.job import Job
from mlprune.steps.observe.block_pass import ObserveBlocksJob
from mlprune.steps.observe.statistics import ObserveJob
from mlprune.store.store import Store

N_THREADS = 2
MOST = 2.0
"""Most CPU time of the pass with Gram matrices, in that of the usual pass."""


def plan_with(folder: Path, size: Size, refiner: str | None) -> Plan:
    """Plan one variant of one demonstration set."""
    demonstrations = {"name": "mt", "kind": "translation", "source": "fr", "target": "en", "shots": 1}
    variant = {"score": "wanda", "demonstrations": "mt", "sparsity": 0.5, "propagation": "dense", "refine": refiner}
    recipe = {
        "name": "observation",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "demonstrations": [{**demonstrations, "samples": size.samples, "max_tokens": size.tokens}],
        "variants": [variant],
        "evaluations": [],
        "compute": {"batch_tokens": 1024},
    }
    return build_plan(parse_recipe(recipe, folder=folder))


def observe(folder: Path, size: Size, repeat: int) -> dict[str, Any]:
    """Run both passes several times; return seconds of each run."""
    set_worker_threads(N_THREADS)
    plans = {"squares": plan_with(folder, size, None), "products": plan_with(folder, size, "gram_swaps")}
    store = Store(folder / "store")
    chain = cache(lambda: local_chain(folder / "model"))
    for job in plans["squares"].jobs:
        if job.step == "demonstrate":
            job.run(store, chain)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in plans}
    for _ in range(repeat + 1):  # the first run of each compiles kernels and touches memory
        for name, plan in plans.items():
            (job,) = (job for job in plan.jobs if isinstance(job, ObserveJob | ObserveBlocksJob))
            runs[name].append(_timed(job, store, chain))
            for record_id in [record_id for kind, record_id in store.record_names() if kind == "observed_blocks"]:
                store.delete(f"records/observed_blocks/{record_id}.json")
    return {"runs": {name: of_kind[1:] for name, of_kind in runs.items()}, "peak_bytes": memory_bytes("VmHWM")}


def _timed(job: Job, store: Store, chain: Any) -> dict[str, float]:
    start = perf_counter(), process_time()
    job.run(store, chain)
    return {"wall": perf_counter() - start[0], "cpu": process_time() - start[1]}


def main() -> None:
    """Measure, print and write the figures."""
    options = _options()
    size = SMALL if options.small else replace(FULL, blocks=options.blocks, samples=options.samples)
    started = moment()
    with tempfile.TemporaryDirectory() as name:
        measured(_write, Path(name), size)
        found = measured(observe, Path(name), size, options.repeat)
    cpu, wall = (
        {name: median(run[clock] for run in runs) for name, runs in found["runs"].items()} for clock in ("cpu", "wall")
    )
    found["ratio_cpu"], found["ratio_wall"] = (clock["products"] / clock["squares"] for clock in (cpu, wall))
    print(f"{size.blocks} blocks of width {size.width}, {size.samples} demonstrations, {N_THREADS} threads")
    print(
        f"usual pass {cpu['squares']:.2f} s of CPU time ({wall['squares']:.2f} s); with Gram matrices "
        f"{cpu['products']:.2f} s ({wall['products']:.2f} s)"
    )
    print(f"ratio {found['ratio_cpu']:.2f} of CPU time, {found['ratio_wall']:.2f} of time; at most {MOST:.0f}")
    print(f"peak memory {found['peak_bytes'] / 2**30:.2f} GiB")
    write_figures(options.out, conditions={**machine(), "started": started, "ended": moment()}, **found)


def _write(folder: Path, size: Size) -> dict[str, Any]:
    write_inputs(folder, size)
    return {}


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--blocks", type=int, default=4, help="number of blocks (default 4)")
    parser.add_argument("--samples", type=int, default=8, help="number of demonstrations (default 8)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each pass (default 3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
