"""Prune a model that is much larger than the memory it is given, and hold time and memory against what is possible.

python tests/benchmarks/memory_bound.py FOLDER                     the shape of XGLM-7.5B: 15 GB of weights, made there
python tests/benchmarks/memory_bound.py FOLDER --shape small       does the machinery work?
python tests/benchmarks/memory_bound.py FOLDER --propagation sequential --memory-gib 4

The product itself is run as a user runs it, in a process of its own that is watched from outside. What is possible is
the time of the matrix products at the rate measured here, two pieces side by side with one thread each, and of reading
the weights from the disk once for every pass over them. Phases come from the catalog.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from conditions import machine, moment
from large_model import SHAPES, Shape, make_model
from watching import Watched, watched

MLPRUNE = [sys.executable, "-m", "ray_jobs.cli"]
TOKENS = 512

RECIPE = """\
name: memory-bound
model: {{path: {model}, dtype: bfloat16}}
corpus: {{kind: cldr}}
demonstrations:
  - {{name: fr-en, kind: translation, source: fr, target: en, shots: {shots}, samples: {samples}, max_tokens: 512}}
variants:
  - {{demonstrations: fr-en, score: wanda, sparsity: [0.5], structure: row, propagation: {propagation}}}
compute: {{memory_gib_per_actor: {memory_gib}}}
"""


def main() -> None:
    """Make the model if need be, prune it, print what it took."""
    options = _options()
    shape, folder = SHAPES[options.shape], options.folder
    n_bytes = make_model(folder / options.shape, shape)
    recipe, store = folder / f"{options.shape}.yaml", folder / f"store-{options.shape}-{options.propagation}"
    fields = {name: getattr(options, name) for name in ("shots", "samples", "propagation", "memory_gib")}
    recipe.write_text(RECIPE.format(model=folder / options.shape, **fields), encoding="utf-8")
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
    parser.add_argument("folder", type=Path, help="where model and store are made, kept and found again")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7.5B")
    parser.add_argument("--propagation", choices=("dense", "sequential"), default="dense")
    parser.add_argument("--memory-gib", type=float, default=4.0, help="compute.memory_gib_per_actor")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--shots", type=int, default=20, help="so many that a demonstration fills its 512 tokens")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    return parser.parse_args()


def _rate(shape: Shape, *, seconds: float = 3.0) -> float:
    """GFLOP/s of bfloat16 matrix products of the model's shape, one on each core."""
    n_cores = len(os.sched_getaffinity(0))
    weight = torch.zeros(shape.inner, shape.hidden, dtype=torch.bfloat16)
    inputs = torch.zeros(TOKENS, shape.hidden, dtype=torch.bfloat16)

    def multiply(_: int) -> int:
        torch.set_num_threads(1)
        n, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            torch.nn.functional.linear(inputs, weight)
            n += 1
        return n

    with ThreadPoolExecutor(n_cores) as pool, torch.inference_mode():
        began = time.monotonic()
        n_products = sum(pool.map(multiply, range(n_cores)))
        elapsed = time.monotonic() - began
    return n_products * 2.0 * weight.numel() * TOKENS / elapsed / 1e9


def _read_rate(model: Path, *, most_bytes: int = 2**31) -> float:
    """GB/s of reading the weight files from the disk, after the system was asked to forget them."""
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
    """Step -> jobs, seconds and peak memory of the process; and the tokens that were observed."""
    steps = _query(
        store,
        "SELECT step, count(*) AS n_jobs, round(sum(elapsed_s), 2) AS seconds, max(peak_memory_gib) AS peak_gib "
        "FROM jobs GROUP BY step ORDER BY min(started_at)",
    )
    return {"steps": steps, "tokens": _query(store, "SELECT n_tokens, samples FROM demonstration_sets")[0]}


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
    """Times and memory, measured and possible; every pass uses each prunable weight once for each token."""
    n_passes_run = 2 if options.propagation == "sequential" else 1
    n_passes_read = n_passes_run if options.propagation == "sequential" else 2
    products_s = 2.0 * shape.n_prunable * phases["tokens"]["n_tokens"] * n_passes_run / possible["rate_gflops"] / 1e9
    reading_s = n_bytes * n_passes_read / possible["read_gb_s"] / 1e9
    jobs_s = sum(step["seconds"] for step in phases["steps"])
    return {
        "shape": options.shape,
        "propagation": options.propagation,
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
