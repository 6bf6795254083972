"""Measure publish and apply against export: time, peak memory and size, for masks alone on a bfloat16 model.

python tests/benchmarks/publishing.py            the shape of XGLM-564M; four minutes and 8 GB of disk
python tests/benchmarks/publishing.py --small    a tiny model, to check that the benchmark runs

The model is random, with the vocabulary of XGLM-564M, and magnitude pruning removes half of the prunable weights. Each
step runs in a process of its own, after the base model's tensors were hashed once.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
import yaml
from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, XGLM_VOCABULARY, Size, write_inputs
from process import measured, memory_bytes
from rows import HEAD, Row
from safetensors.torch import load_file, save_file

from mlprune.capabilities.publishing.apply import apply_published
from mlprune.capabilities.publishing.apply_published import write
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.publish import Publication, publish_variants
from mlprune.models.checkpoint.tensor_hashes import base_tensor_hashes, read_hashes
from mlprune.planning import build_plan, pending_jobs
from mlprune.recipe.loading import load_recipe
from mlprune.store.store import Store

N_THREADS = 2
LEAST_RATIO = 14
"""Smallest allowed ratio of the base model's weights to a published variant with masks alone."""


def write_pruned(folder: Path, size: Size) -> dict[str, Any]:
    """Write a bfloat16 model and a store with one pruned variant; returns the id of the variant."""
    torch.set_num_threads(N_THREADS)
    write_inputs(folder, size)
    file = folder / "model" / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
    recipe = {
        "name": "publish",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "variants": [{"score": "magnitude", "sparsity": 0.5}],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    store, plan = Store(folder / "store"), build_plan(load_recipe(folder / "recipe.yaml"))
    for job in pending_jobs(plan.jobs, store):
        job.run(store, lambda: None)
    base_tensor_hashes(folder / "model")
    (pruned,) = (variant.id for variant in plan.variants.values() if not variant.is_dense)
    return {"variant": pruned}


def timed(step: Callable[[], object]) -> dict[str, Any]:
    """Wall and CPU time of a step, and how much the peak memory grew."""
    before, wall, cpu = memory_bytes("VmRSS"), perf_counter(), process_time()
    step()
    return {
        "wall_s": perf_counter() - wall,
        "cpu_s": process_time() - cpu,
        "peak_mib": (memory_bytes("VmHWM") - before) / 2**20,
    }


def exported(folder: Path, variant: str) -> dict[str, Any]:
    """Measure an export."""
    return timed(lambda: export_variant(Store(folder / "store"), variant, folder / "model", folder / "exported"))


def published(folder: Path, variant: str) -> dict[str, Any]:
    """Measure the publication of one variant, and its size."""
    store, found = Store(folder / "store"), []
    base_id = store.require("variants", variant).parent("base_model")
    publication = Publication(variant, "pruned")
    models = {base_id: folder / "model"}
    result = timed(lambda: found.extend(publish_variants(store, [publication], models, folder / "published")))
    return {**result, "n_bytes": found[0].n_bytes, "n_base_bytes": found[0].n_base_bytes}


def applied(folder: Path, _: str) -> dict[str, Any]:
    """Measure `mlprune apply`."""
    return timed(lambda: apply_published(str(folder / "model"), folder / "published", folder / "applied"))


def loaded_alone(folder: Path, _: str) -> dict[str, Any]:
    """Measure the loader of the folder."""
    return timed(lambda: write(folder / "model", folder / "alone", folder / "published"))


STEPS = {"export": exported, "publish": published, "apply": applied, "the folder's own loader": loaded_alone}


def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Measure all steps on one variant.

    Raises:
        AssertionError: a tensor of the applied model has another hash than that of the export.
    """
    variant = measured(write_pruned, folder, size)["variant"]
    found = {name: measured(step, folder, variant) for name, step in STEPS.items()}
    assert read_hashes(folder / "exported") == read_hashes(folder / "applied")
    return found


def rows_of(found: dict[str, Any]) -> list[Row]:
    """A row for the size, and one for each step against the export."""
    n_base, n_published = (found["publish"][name] for name in ("n_base_bytes", "n_bytes"))
    ratio, is_reached = n_base / n_published, n_base / n_published >= LEAST_RATIO
    what = "bfloat16 weights against a published variant with masks alone"
    sizes = f"{n_base / 1e6:.1f} MB", f"{n_published / 1e6:.1f} MB"
    rows = [Row("size", what, *sizes, f"1/{ratio:.1f}", f"<= 1/{LEAST_RATIO}", is_reached)]
    for name, one in found.items():
        relative = f"{one['wall_s'] / found['export']['wall_s']:.2f}x"
        what = f"{name}, against export: wall (CPU), growth of the peak memory"
        rows.append(Row(name, what, _words(found["export"]), _words(one), relative, "", None))
    return rows


def _words(one: dict[str, Any]) -> str:
    return f"{one['wall_s']:.1f} s ({one['cpu_s']:.1f} s), {one['peak_mib']:.0f} MiB"


def main() -> None:
    """Measure, print the table and write the figures."""
    options = _options()
    started, size = moment(), SMALL if options.small else replace(FULL, vocabulary=XGLM_VOCABULARY)
    with tempfile.TemporaryDirectory(prefix="mlprune-publish-", dir=options.folder) as folder:
        found = measure(size, Path(folder))
    conditions = {**machine(), "started": started, "ended": moment()}
    print("\n".join([HEAD, *(row.line for row in rows_of(found))]))
    print(f"\n{conditions['cores']} cores of {conditions['cpu']}, load {started['load_1min']}.")
    rows = [row.as_dict() for row in rows_of(found)]
    write_figures(options.out, conditions=conditions, rows=rows, measurements=found)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
