"""Measure the swap of a variant on the CPU: exchange the masks of a model in memory, against copying its weights.

python tests/benchmarks/swap.py                 the shape of XGLM-564M, float32; three minutes and 5 GB of disk
python tests/benchmarks/swap.py --blocks 6      a quarter of it
python tests/benchmarks/swap.py --small         a tiny model, to check that the benchmark runs

Twenty variants of one ordering are applied in random order. Swaps and copies alternate in one process, so that other
work on the machine affects both alike; the ratio is that of the medians of their CPU times.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, Size, write_inputs, write_recipe
from ours import N_THREADS, prune_by_recipe
from process import measured
from rows import HEAD, Row

from mlprune.json_values import as_float
from mlprune.models.local_chain import local_chain
from mlprune.processes.parallel import parallel_map, set_worker_threads
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.store.store import Store

VARIANTS = 20
SPARSITIES = tuple(round(0.025 + 0.045 * number, 3) for number in range(VARIANTS))
TIMES_COPY = 3.0
"""Largest allowed ratio of the time of a swap to that of copying the weights."""


def make_variants(folder: Path, size: Size) -> dict[str, Any]:
    """Write a model, and make twenty variants of it from one dense ordering."""
    write_inputs(folder, size)
    recipe = write_recipe(folder, "twenty", size=size, sparsity=list(SPARSITIES))
    return prune_by_recipe(recipe, folder / "store").as_dict()


def swaps(folder: Path, dtype: Any) -> dict[str, Any]:
    """Apply all variants in random order, and copy the prunable weights after each."""
    set_worker_threads(N_THREADS)
    store = Store(folder / "store")
    variants = sorted(
        record.id for record in store.records("variants") if as_float(record.rows["variants"][0]["sparsity"]) > 0
    )
    random.Random(0).shuffle(variants)
    chain = local_chain(folder / "model", dtype=dtype)
    weights = [
        weight for shard in chain.shards for block in shard.blocks for weight in shard.masks.dense(block).values()
    ]
    copies = [torch.empty_like(weight) for weight in weights]

    def copy() -> None:
        list(parallel_map(lambda pair: pair[0].copy_(pair[1]), zip(copies, weights, strict=True)))

    for warm_up in (copy, copy, lambda: apply_variant(chain, store, variants[-1])):
        warm_up()
    swapped, copied = [], []
    for variant_id in variants:
        swapped.append(_seconds(partial(apply_variant, chain, store, variant_id)))
        copied.append(_seconds(copy))
    return {"swap": _medians(swapped), "copy": _medians(copied), "n_weights": sum(weight.numel() for weight in weights)}


def _seconds(function: Callable[[], None]) -> tuple[float, float]:
    """Return wall and CPU seconds of a call."""
    wall, cpu = perf_counter(), process_time()
    function()
    return perf_counter() - wall, process_time() - cpu


def _medians(seconds: list[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = zip(*seconds, strict=True)
    return {"wall": median(wall), "cpu": median(cpu)}


def swap_row(found: dict[str, Any], dtype: str) -> Row:
    """Row of one dtype."""
    ratio = found["swap"]["cpu"] / found["copy"]["cpu"]
    what = f"swap a variant on the CPU, {found['n_weights'] / 1e6:.0f} million weights, {dtype}; CPU time (wall)"
    copied, swapped = (f"{one['cpu']:.2f} s ({one['wall']:.2f} s)" for one in (found["copy"], found["swap"]))
    is_reached = ratio <= TIMES_COPY if dtype == "float32" else None
    return Row(f"swap {dtype}", what, copied, swapped, f"{ratio:.1f}x", f"<= {TIMES_COPY:g}x", is_reached)


def main() -> None:
    """Measure, print the table and write the figures."""
    options = _options()
    started, size = moment(), SMALL if options.small else FULL
    if options.blocks:
        size = replace(size, blocks=options.blocks)
    with tempfile.TemporaryDirectory(prefix="mlprune-swap-", dir=options.folder) as name:
        folder = options.keep or Path(name)
        if not (folder / "store").exists():
            print("variants ...", file=sys.stderr)
            measured(make_variants, folder, size)
        found = {dtype: measured(swaps, folder, dtype) for dtype in ("float32", "bfloat16")}
    rows = [swap_row(found[dtype], dtype) for dtype in found]
    conditions = {**machine(), "started": started, "ended": moment(), "blocks": size.blocks}
    print("\n".join([HEAD, *(row.line for row in rows)]))
    print(f"\n{conditions['cores']} cores of {conditions['cpu']}, load {started['load_1min']}.")
    write_figures(options.out, conditions=conditions, rows=[row.as_dict() for row in rows], measurements=found)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--blocks", type=int, help="number of blocks (default 24)")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    parser.add_argument("--keep", type=Path, help="folder for model and store, which a second call uses again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
