"""Measure the Python interface: values of metrics as a polars frame, and a pruned model in memory.

python tests/benchmarks/python_interface.py            10 million rows and the shape of XGLM-564M, float32; 8 GB of disk
python tests/benchmarks/python_interface.py --small    1,000 variants and a tiny model, to check that the benchmark runs

The rows are those of `catalog_scale.py`. The model has random weights and is pruned by magnitude; it is loaded in a
process of its own, whose files are in the page cache. Its peak memory is the resident memory that the load adds, mapped
pages of the checkpoint included, and is compared with the bytes of the weights.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from catalog_scale import make_catalog
from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, XGLM_VOCABULARY, Size, write_inputs
from rows import HEAD, Row

import mlprune
from catalog.ingest.fold import FoldResult
from mlprune.api.open_store import OpenStore
from mlprune.store.store import Store

VARIANTS = {"full": 106_500, "small": 1_000}
"""Number of variants, with 94 rows each."""
MOST_S = 3.0
"""Longest time for the frame, and for the model."""
MOST_SHARE = 1.1
"""Largest peak memory of the model, as a share of the bytes of its weights."""
SPARSITY = 0.5
LOAD = """
import json, resource, sys, time
import torch, mlprune
from mlprune.api import masked_model  # loads the libraries before the clock starts
store = mlprune.open(sys.argv[1])
label = store.variants(is_dense=False).row()["label"]
store.model_folder(label)  # the metadata of the model are cached by runs, too
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
model = store.load(label)
seconds = time.perf_counter() - started
added = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
n_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
zeros = sum(int((parameter == 0).sum()) for parameter in model.parameters())
print(json.dumps({"seconds": seconds, "added_bytes": added, "model_bytes": n_bytes, "zeros": zeros}))
"""


def frame_figures(folder: Path, n_variants: int, *, repeat: int) -> dict[str, Any]:
    """Seconds from `store.metrics(order_by=())` to a polars frame, and the rows and bytes of the frame."""
    make_catalog(folder, n_variants, memory_limit="6GB")
    store = OpenStore(Store(folder))
    # The rows of the catalog have no records: a fold would remove them.
    store._reader._catalog._last_fold = FoldResult(n_records=0, n_rows=0, persisted=True)
    seconds = []
    for _ in range(repeat):
        started = perf_counter()
        frame = store.metrics(order_by=()).pl()
        seconds.append(perf_counter() - started)
    return {"rows": len(frame), "columns": len(frame.columns), "bytes": frame.estimated_size(), "seconds": min(seconds)}


def load_figures(folder: Path, size: Size, *, repeat: int) -> dict[str, Any]:
    """Seconds and added memory of loading a pruned model in processes of their own."""
    write_inputs(folder, size)
    recipe = {
        "name": "load",
        "model": {"path": str(folder / "model"), "dtype": "float32"},
        "corpus": {"kind": "cldr"},
        "variants": [{"score": "magnitude", "sparsity": SPARSITY}],
    }
    mlprune.run(recipe, store=folder / "store", address="none").close()
    found = []
    for _ in range(repeat):
        done = subprocess.run(
            [sys.executable, "-c", LOAD, str(folder / "store")], check=True, capture_output=True, text=True
        )
        found.append(json.loads(done.stdout))
    return {**found[0], "seconds": min(one["seconds"] for one in found)}


def main() -> None:
    """Measure, print the rows and write the figures."""
    options = _options()
    started = moment()
    size = SMALL if options.small else replace(FULL, vocabulary=XGLM_VOCABULARY)
    with tempfile.TemporaryDirectory(prefix="mlprune-python-", dir=options.folder) as name:
        load = load_figures(Path(name) / "load", size, repeat=options.repeat)
        n_variants = VARIANTS["small" if options.small else "full"]
        frame = frame_figures(Path(name) / "frame", n_variants, repeat=options.repeat)
    share = load["added_bytes"] / load["model_bytes"]
    took, rows, size_gb = frame["seconds"], f"{frame['rows']:,} rows", f"{load['model_bytes'] / 1e9:.2f} GB"
    table = [
        Row("frame", f"`store.metrics()` to polars, {rows}", "", _s(took), "", f"<= {MOST_S:g} s", took <= MOST_S),
        Row(
            "load",
            f"`store.load`, {size_gb}",
            "",
            _s(load["seconds"]),
            "",
            f"<= {MOST_S:g} s",
            load["seconds"] <= MOST_S,
        ),
        Row(
            "load_memory",
            "its peak memory",
            size_gb,
            f"{load['added_bytes'] / 1e9:.2f} GB",
            f"{share:.2f}x",
            f"<= {MOST_SHARE:g}x",
            share <= MOST_SHARE,
        ),
    ]
    print("\n".join([HEAD, *(row.line for row in table)]))
    conditions = {**machine(), "started": started, "ended": moment(), "repeat": options.repeat}
    write_figures(options.out, conditions=conditions, measurements={"frame": frame, "load": load})


def _s(seconds: float) -> str:
    return f"{seconds:.1f} s"


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="measure N times and report the shortest time")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
