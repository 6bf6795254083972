"""Process a model that is much larger than the memory limit, and compare time and memory with the theoretical minimum.

python tests/benchmarks/memory_bound.py FOLDER                 XGLM-7.5B's shape, writes 15 GB there: observe and prune
python tests/benchmarks/memory_bound.py FOLDER --what sweep    a sweep: each block after the pruned ones
python tests/benchmarks/memory_bound.py FOLDER --what score    candidates and sentences of the dense model
python tests/benchmarks/memory_bound.py FOLDER --shape small   check that the benchmark runs

mlprune runs as for a user, in its own process that is measured from outside. The theoretical minimum is the time of the
matrix products at the rate measured here, with two single-threaded pieces in parallel, plus the time to read the
weights from disk once per pass. Observing and pruning take one pass each; a sweep takes one pass to observe and one to
run each block twice; scoring takes one. The times of the steps come from the catalog.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from conditions import machine, moment
from large_model import SHAPES, Shape, make_model
from watching import Watched, watched

from mlprune.planning.resources.rates import measure_linear_rate

MLPRUNE = [sys.executable, "-m", "ray_jobs.cli"]
TOKENS = 512

WHATS = ("observe", "sweep", "score")


TIMES_RUN = {"observe": 1, "sweep": 2, "evaluate": 1}
"""Step -> number of times each block runs per token."""
TIMES_READ = {"observe": 2, "sweep": 2, "score": 1}
"""Passes over the weights. A swept set is also observed on the dense model, for its features."""


def recipe_of(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A recipe of one variant of one set, or of evaluations of the dense model."""
    recipe = {
        "name": f"memory-bound-{options.what}",
        "model": {"path": str(model), "dtype": "bfloat16"},
        "corpus": {"kind": "cldr"},
        "demonstrations": [],
        "variants": [],
        "compute": {"memory_gib_per_actor": options.memory_gib},
    }
    if options.what == "score":
        some = {"path": "corpus", "split": "dev", "languages": ["en", "fr"], "limit": options.items}
        return {**recipe, "evaluations": [{"task": "facts", **some}, {"task": "perplexity", **some}]}
    sizes = {"shots": options.shots, "samples": options.samples, "max_tokens": TOKENS}
    pair = {"name": "fr-en", "kind": "translation", "source": "fr", "target": "en", **sizes}
    propagation = "sequential" if options.what == "sweep" else "dense"
    wanda = {"demonstrations": "fr-en", "score": "wanda", "sparsity": [0.5], "propagation": propagation}
    return {**recipe, "demonstrations": [pair], "variants": [wanda]}


def main() -> None:
    """Create the model if necessary, prune it, and print time and memory."""
    options = _options()
    shape, folder = SHAPES[options.shape], options.folder
    n_bytes = make_model(folder / options.shape, shape)
    recipe, store = folder / f"{options.shape}-{options.what}.yaml", folder / f"store-{options.shape}-{options.what}"
    recipe.write_text(yaml.safe_dump(recipe_of(folder / options.shape, options)), encoding="utf-8")
    shutil.rmtree(store, ignore_errors=True)
    possible = {"rate_gflops": _rate(shape), "read_gb_s": _read_rate(folder / options.shape)}
    started = moment()
    found = watched([*MLPRUNE, "run", str(recipe), "--store", str(store), "--address", "none"], folder / "run.log")
    if found.exit_code:
        raise SystemExit((folder / "run.log").read_text(encoding="utf-8"))
    figures = _figures(found, possible, _phases(store), shape=shape, n_bytes=n_bytes, options=options)
    figures["conditions"] = {**machine(), "started": started, "ended": moment()}
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.write_text(json.dumps({**figures, "trace": found.trace}, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="folder of model and store, which are kept for later runs")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7.5B")
    parser.add_argument("--what", choices=WHATS, default="observe")
    parser.add_argument("--memory-gib", type=float, default=4.0, help="compute.memory_gib_per_actor")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--shots", type=int, default=20, help="shots per demonstration; the default fills 512 tokens")
    parser.add_argument("--items", type=int, default=96, help="items to score per task and language")
    parser.add_argument("--out", type=Path, help="write all figures to this file as JSON")
    return parser.parse_args()


def _rate(shape: Shape, *, seconds: float = 3.0) -> float:
    """Rate of bfloat16 matrix products of the model's shape, one per core, in GFLOP/s."""
    n_cores = len(os.sched_getaffinity(0))
    layer = (TOKENS, shape.hidden, shape.inner)
    return measure_linear_rate(layer, torch.bfloat16, n_threads=n_cores, seconds=seconds) / 1e9


def _read_rate(model: Path, *, most_bytes: int = 2**31) -> float:
    """Rate of reading the weight files from disk after dropping them from the page cache, in GB/s."""
    n_read, elapsed = 0, 0.0
    for file in sorted(model.glob("*.safetensors")):
        with file.open("rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            began = time.monotonic()
            while piece := stream.read(2**24):
                n_read += len(piece)
            elapsed += time.monotonic() - began
        if n_read >= most_bytes:
            break
    return n_read / elapsed / 1e9


def _phases(store: Path) -> dict[str, Any]:
    """Jobs, seconds and peak memory per step; number of tokens run through the model and of scored tokens."""
    steps = _query(
        store,
        "SELECT step, count(*) AS n_jobs, round(sum(elapsed_s), 2) AS seconds, max(peak_memory_gib) AS peak_gib, "
        "sum(n_tokens)::BIGINT AS n_tokens FROM jobs GROUP BY step ORDER BY min(started_at)",
    )
    scored = (pq.read_table(file, columns=["n_tokens"]) for file in (store / "predictions").glob("*.parquet"))
    return {"steps": steps, "n_scored": sum(int(np.sum(one["n_tokens"].to_numpy())) for one in scored)}


def _query(store: Path, sql: str) -> list[dict[str, Any]]:
    command = [*MLPRUNE, "query", sql, "--store", str(store), "--format", "json"]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def _figures(
    found: Watched,
    possible: dict[str, float],
    phases: dict[str, Any],
    *,
    shape: Shape,
    n_bytes: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Measured and minimal times and memory. A run uses each weight once per token and the head once per score."""
    n_runs = sum((step["n_tokens"] or 0) * TIMES_RUN.get(step["step"], 0) for step in phases["steps"])
    n_heads = min(phases["n_scored"], n_runs)  # a shared prefix is run and scored once
    flops = 2.0 * shape.n_prunable * n_runs + 2.0 * shape.hidden * shape.vocabulary * n_heads
    products_s = flops / possible["rate_gflops"] / 1e9
    reading_s = n_bytes * TIMES_READ[options.what] / possible["read_gb_s"] / 1e9
    jobs_s = sum(step["seconds"] for step in phases["steps"])
    return {
        "shape": options.shape,
        "what": options.what,
        "weights_gib": round(n_bytes / 2**30, 2),
        "memory_gib_per_actor": options.memory_gib,
        "peak_gib": round(found.peak_bytes / 2**30, 2),
        "total_s": round(found.elapsed_s, 1),
        "before_and_between_jobs_s": round(found.elapsed_s - jobs_s, 1),
        **phases,
        "rate_gflops": round(possible["rate_gflops"], 1),
        "read_gb_s": round(possible["read_gb_s"], 2),
        "products_s": round(products_s, 1),
        "reading_s": round(reading_s, 1),
        "ratio": round(found.elapsed_s / (products_s + reading_s), 2),
    }


if __name__ == "__main__":
    main()
