"""Measure the streaming of statistics: memory for growing sets, and files compared with plain Parquet.

python tests/benchmarks/streaming.py --out streaming.json     all rows
python tests/benchmarks/streaming.py --only files             some of them
python tests/benchmarks/streaming.py --small                  a tiny model, to check that the benchmark runs
"""

import os
import pickle
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import SMALL, Size, write_inputs, write_recipe
from process import measured, memory_bytes, settled_memory_bytes
from rows import HEAD, Row

from mlprune.models.local_chain import local_chain
from mlprune.planning import build_plan
from mlprune.processes.parallel import set_worker_threads
from mlprune.recipe.loading import load_recipe
from mlprune.steps.observe import passes
from mlprune.steps.observe.statistics_files import LAYOUT, DemonstrationSums, read_block_statistics, write_part
from mlprune.steps.prune.ordering import OrderBlockJob
from mlprune.store.store import Store

TIMES = (1, 4, 16)
MOST_MEMORY = 1.1
"""Largest peak memory relative to that of the smallest set."""
MOST_TIME = 1.3
"""Time for our files relative to that for plain Parquet."""
MIB = 2**20


@dataclass(frozen=True)
class Sizes:
    """Sizes of the observed sets and of the files."""

    model: Size
    part_tokens: int
    """Tokens of a part; the smallest set is one part."""
    blocks: int
    """Width of the files."""
    demonstrations: int
    """Demonstrations in the files."""
    width: int
    repeat: int


FULL = Sizes(
    replace(SMALL, blocks=5, width=1024, feed_forward=4096, vocabulary=1024, tokens=32),
    part_tokens=256 * 32,
    blocks=24,
    demonstrations=256,
    width=1024,
    repeat=5,
)
"""The files contain a full part of XGLM-564M. The observed model has its width and short demonstrations. Statistics
take 140 KiB per demonstration of any length, 35 MiB per part and 560 MiB for 16 parts, so that keeping all of them in
memory, or all of one block (112 MiB), would be visible."""
TINY = Sizes(SMALL, part_tokens=16 * SMALL.tokens, blocks=3, demonstrations=32, width=64, repeat=2)


def memory_rows(sizes: Sizes, folder: Path, found: dict[str, Any]) -> list[Row]:
    """Peak memory to observe a set and to order a block, with 1, 4 and 16 times the demonstrations."""
    once = sizes.part_tokens // sizes.model.tokens
    measured(write_corpus, folder, sizes.model, once * TIMES[-1])
    for times in TIMES:
        store = folder / f"store-{times}"
        measured(write_jobs, folder, store, sizes, once * times)
        found[f"observe_{times}"] = measured(run_jobs, store, "observe")
        found[f"order_{times}"] = measured(run_jobs, store, "prune")
    counts = "/".join(f"{once * times:,}" for times in TIMES)
    most = found[f"observe_{TIMES[-1]}"]["encode_numeric"] / MIB
    whats = {
        "observe": f"observing {counts} demonstrations of {sizes.model.tokens} tokens ({most:.0f} MiB of statistics)",
        "order": f"scoring and ordering one block with these statistics ({most / sizes.model.blocks:.0f} MiB a block)",
    }
    return [_memory_row(name, f"peak memory of {what}", found) for name, what in whats.items()]


def _memory_row(name: str, what: str, found: Mapping[str, Any]) -> Row:
    peaks = [found[f"{name}_{times}"]["peak_bytes"] for times in TIMES]
    ratio, mib = max(peaks) / peaks[0], "/".join(f"{peak / MIB:.0f}" for peak in peaks)
    line = ("", f"{mib} MiB", f"{ratio:.2f}x", f"<= {MOST_MEMORY:g}x")
    return Row(f"memory {name}", what, *line, ratio <= MOST_MEMORY)


def write_corpus(folder: Path, size: Size, n_lines: int) -> dict[str, Any]:
    """Write model, tokenizer and a corpus of `n_lines` lines; each demonstration is longer than the model reads."""
    write_inputs(folder, size)
    generator = torch.Generator().manual_seed(0)
    for language in ("fr", "en"):
        words = torch.randint(size.vocabulary - 64, (n_lines, size.tokens // 2), generator=generator).tolist()
        lines = [" ".join(f"w{word}" for word in row) + "\n" for row in words]
        (folder / "corpus" / f"{language}.txt").write_text("".join(lines), encoding="utf-8")
    return {}


def write_jobs(folder: Path, store_folder: Path, sizes: Sizes, n: int) -> dict[str, Any]:
    """Make the set of n demonstrations and write the jobs that observe it, as workers receive them."""
    passes.PART_TOKENS = sizes.part_tokens
    recipe = write_recipe(folder, f"observe-{n}", size=replace(sizes.model, samples=n))
    plan, store = build_plan(load_recipe(recipe)), Store(store_folder)
    load_chain = partial(local_chain, Path(plan.model.path), dtype=plan.model.dtype)
    for job in plan.jobs:
        if job.step == "demonstrate":
            job.run(store, load_chain)
    steps = {
        "observe": [job for job in plan.jobs if job.step == "observe"],
        "prune": [job for job in plan.jobs if isinstance(job, OrderBlockJob)][:1],
    }
    (store_folder / "jobs.pickle").write_bytes(pickle.dumps((steps, load_chain)))
    return {"n_jobs": len(steps["observe"])}


def run_jobs(store_folder: Path, step: str) -> dict[str, Any]:
    """Run the pending jobs of a step."""
    set_worker_threads(1)
    steps, load_chain = pickle.loads((store_folder / "jobs.pickle").read_bytes())
    libraries, started = settled_memory_bytes(), perf_counter()
    chain, store = cache(load_chain), Store(store_folder)
    for job in steps[step]:
        job.run(store, chain)
    files = list((store_folder / "statistics").rglob("*.parquet"))
    return {
        "n_jobs": len(steps[step]),
        "total": round(perf_counter() - started, 3),
        "libraries_bytes": libraries,
        "peak_bytes": memory_bytes("VmHWM"),
        "statistics_bytes": sum(one.stat().st_size for one in files),
        "encode_numeric": sum(_n_numbers(one) for one in files) * 4,
    }


def _n_numbers(file: Path) -> int:
    """Number of sums of squares in a statistics file."""
    metadata = pq.ParquetFile(file).metadata
    return int(sum(metadata.row_group(group).column(4).num_values for group in range(metadata.num_row_groups)))


def file_rows(sizes: Sizes, folder: Path, found: dict[str, Any]) -> list[Row]:
    """Time to write and read the statistics of a full part for every block."""
    found["files"] = measured(files, folder, sizes)
    seconds, mib = found["files"]["seconds"], found["files"]["encode_numeric"] / MIB
    rows = []
    for opponent, words in (("plain", "pyarrow's defaults"), ("same", "pyarrow with our encodings")):
        for action in ("write", "read"):
            ours, theirs = seconds[f"ours_{action}"], seconds[f"{opponent}_{action}"]
            what = f"{action} statistics, {sizes.blocks} files, {mib:.0f} MiB of numbers, against {words}"
            name, ratio = f"{action} {opponent}", ours / theirs
            line = (f"{theirs * 1000:.0f} ms", f"{ours * 1000:.0f} ms", f"{ratio:.2f}x", f"<= {MOST_TIME:g}x")
            rows.append(Row(name, what, *line, ratio <= MOST_TIME))
    return rows


def files(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Median times for our files (hashed, flushed to disk) and for plain files, measured alternately on one thread."""
    set_worker_threads(1)
    store = Store(folder / "files")
    blocks = [_block(sizes, block) for block in range(sizes.blocks)]
    tables = [_plain_table(block, sums) for block, sums in enumerate(blocks)]
    same: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["input"]}
    same["use_byte_stream_split"] = ["sum_sq.list.element"]
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(sizes.repeat):
        sides: Mapping[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "plain": (partial(_write_plain, folder, tables), partial(_read_plain, folder, len(tables))),
            "same": (partial(_write_plain, folder, tables, **same), partial(_read_plain, folder, len(tables))),
        }
        for name, (write, read) in sides.items():
            taken[f"{name}_write"].append(_seconds(write)[0])
            taken[f"{name}_read"].append(_seconds(read)[0])
        seconds, artefacts = _seconds(partial(_write_ours, store, blocks))
        taken["ours_write"].append(seconds)
        seconds, back = _seconds(partial(_read_ours, store, artefacts, len(blocks)))
        taken["ours_read"].append(seconds)
        assert all(torch.equal(one[name], sums[name]) for one, sums in zip(back, blocks, strict=True) for name in sums)
    n_bytes = sum(one.nbytes for sums in blocks for one in sums.values())
    stored = {"ours": sum(one.n_bytes for one in artefacts), "same": _plain_bytes(folder)}
    return {
        "seconds": {name: median(times) for name, times in taken.items()},
        "all_seconds": taken,
        "encode_numeric": n_bytes,
        "stored_bytes": stored,
    }


def _block(sizes: Sizes, block: int) -> dict[str, torch.Tensor]:
    """Realistic sums of squares: features differ a lot in size and vary little between demonstrations."""
    generator = torch.Generator().manual_seed(block)
    widths = {"self_attn.q_proj": 1, "self_attn.out_proj": 1, "fc1": 1, "fc2": 4}
    found = {}
    for name, times in widths.items():
        scale = torch.randn(times * sizes.width, generator=generator).exp() * 50
        spread = torch.rand(sizes.demonstrations, times * sizes.width, generator=generator) + 0.5
        found[name] = scale * spread
    return found


def _plain_table(block: int, sums: Mapping[str, torch.Tensor]) -> pa.Table:
    """The same columns as a table, built before the measurement."""
    n = len(next(iter(sums.values())))
    widths = [one.shape[1] for one in sums.values() for _ in range(n)]
    values = np.concatenate([one.numpy().reshape(-1) for one in sums.values()])
    offsets = pa.array(np.cumsum([0, *widths], dtype=np.int32))
    columns = {
        "block": pa.array([block] * len(widths), pa.int32()),
        "input": pa.array([name for name in sums for _ in range(n)]),
        "demonstration": pa.array(list(range(n)) * len(sums), pa.int32()),
        "n_tokens": pa.array([300] * len(widths), pa.int64()),
        "sum_sq": pa.ListArray.from_arrays(offsets, pa.array(values)),
    }
    assert list(columns) == list(LAYOUT.schema)
    return pa.table(columns)


def _write_plain(folder: Path, tables: list[pa.Table], **options: Any) -> None:
    for block, table in enumerate(tables):
        pq.write_table(table, folder / f"plain-{block}.parquet", **options)


def _read_plain(folder: Path, n: int) -> list[pa.Table]:
    return [pq.read_table(folder / f"plain-{block}.parquet") for block in range(n)]


def _plain_bytes(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.glob("plain-*.parquet"))


def _write_ours(store: Store, blocks: list[dict[str, torch.Tensor]]) -> list[Any]:
    n = len(next(iter(blocks[0].values())))
    n_tokens = torch.full((n,), 300)
    observed = [DemonstrationSums(range(n), n_tokens, sums) for sums in blocks]
    return [write_part(store, "files", block, of_block) for block, of_block in enumerate(observed)]


def _read_ours(store: Store, artefacts: list[Any], n: int) -> list[Any]:
    return [read_block_statistics(store, artefacts, block) for block in range(n)]


def _seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Time a function and return its result; pending writes are flushed first."""
    os.sync()
    started = perf_counter()
    result = function()
    return perf_counter() - started, result


ROWS = {"memory": memory_rows, "files": file_rows}


def main() -> None:
    """Measure, print the table and write the figures."""
    parser = option_parser(__doc__)
    parser.add_argument("--only", action="append", choices=sorted(ROWS), help="measure only this row; repeatable")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder, which needs 2 GB")
    options = parser.parse_args()
    started, found, rows = moment(), {}, []
    with tempfile.TemporaryDirectory(prefix="mlprune-streaming-", dir=options.folder) as folder:
        for name in options.only or ROWS:
            print(f"{name} ...", file=sys.stderr)
            own = Path(folder) / name
            own.mkdir()
            rows += ROWS[name](TINY if options.small else FULL, own, found)
    print("\n".join([HEAD, *(row.line for row in rows)]))
    conditions = {**machine(), "started": started, "ended": moment()}
    write_figures(options.out, conditions=conditions, rows=[row.as_dict() for row in rows], measurements=found)


if __name__ == "__main__":
    main()
