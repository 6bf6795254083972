"""Measure the masks of trials that differ in one switch: composed from a library, against ordered; and their swaps.

python tests/benchmarks/trials.py --blocks 4    the width of XGLM-564M; one minute and 1 GB of disk
python tests/benchmarks/trials.py --small       a tiny model, to check that the benchmark runs

Every trial exchanges the levels of one layer between two blocks of the trial before, so the total sparsity stays. Times
are CPU times of one process with one thread; files are not flushed to the disk.
"""

import argparse
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, Size, write_inputs
from torch import Tensor

from mlprune.models.local_chain import local_chain
from mlprune.models.masks import masking
from mlprune.numeric.masks import packed_masks
from mlprune.planning import Plan, build_plan
from mlprune.processes.parallel import set_worker_threads
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.steps.inputs import open_inputs
from mlprune.steps.job import Job
from mlprune.steps.prune.composed import ComposeVariantJob, trial_jobs
from mlprune.steps.prune.mask_jobs import variant_jobs
from mlprune.steps.prune.ordering import CollectVariantsJob
from mlprune.store.store import Store
from tests.tiny_models import ARCHITECTURES

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
N_TRIALS = 9
N_ORDERED = 2
"""Trials that are also ordered."""


def write_trials(folder: Path, size: Size) -> Plan:
    """Write the model, and plan trials of which each differs from the one before in one switch."""
    write_inputs(folder, size)
    layers = ARCHITECTURES["xglm"].layers
    generator = random.Random(0)
    levels = {f"{block}.{layer}": LEVELS[(block + 1) % len(LEVELS)] for block in range(size.blocks) for layer in layers}
    entries = []
    for number in range(N_TRIALS):
        given = {"schedule": {"block_layers": dict(levels)}, "sparsity": 0.7}
        entries.append({"name": f"trial-{number}", "score": "magnitude", **given})
        layer = generator.choice(layers)
        first, second = (f"{block}.{layer}" for block in generator.sample(range(size.blocks), 2))
        levels[first], levels[second] = levels[second], levels[first]
    recipe = {"name": "trials", "model": {"path": "model"}, "corpus": {"kind": "cldr"}, "variants": entries}
    return build_plan(parse_recipe(recipe, folder=folder))


def measure(folder: Path, size: Size) -> dict[str, Any]:
    """Order some trials, compose all of them, and apply them one after the other."""
    set_worker_threads(1)
    plan = write_trials(folder, size)
    inputs = open_inputs(plan.recipe)
    trials = dict(list(plan.variants.items())[1:])
    some = dict(list(trials.items())[:N_ORDERED])
    warm_up, ordered, composed = (Store(folder / name) for name in ("warm-up", "ordered", "composed"))
    _run(variant_jobs(plan.recipe, inputs, some), warm_up)
    of_ordered = _run(variant_jobs(plan.recipe, inputs, some), ordered)
    jobs = trial_jobs(plan.recipe, inputs, trials, levels=LEVELS)
    of_library = _run((job for job in jobs if not isinstance(job, ComposeVariantJob)), composed)
    of_composed = _run((job for job in jobs if isinstance(job, ComposeVariantJob)), composed)
    uniform = [spec.id for job in jobs if isinstance(job, CollectVariantsJob) for spec in job.variants]
    return {
        "ordered": {name: value / len(some) for name, value in of_ordered.items()},
        "library": of_library,
        "composed": {name: value / len(trials) for name, value in of_composed.items()},
        "swaps": _swaps(plan, composed, list(trials), (uniform[0], uniform[-1])),
        "n_weights": size.n_prunable,
    }


def _run(jobs: Iterable[Job], store: Store) -> dict[str, float]:
    """Run jobs; return their CPU seconds and the bytes that they write."""
    before = _n_bytes(store)
    started = process_time()
    for job in jobs:
        job.run(store, _no_chain)
    return {"cpu_s": process_time() - started, "bytes": float(_n_bytes(store) - before)}


def _no_chain() -> Any:
    raise AssertionError("no job of a dense ordering runs the model")


def _n_bytes(store: Store) -> int:
    return sum(path.stat().st_size for path in Path(store.uri).rglob("*") if path.is_file())


def _swaps(plan: Plan, store: Store, trials: list[str], uniform: tuple[str, str]) -> dict[str, float]:
    """Apply trials in their order, and for comparison two variants that differ in every layer."""
    chain = local_chain(Path(plan.model.path))
    written: list[int] = []

    def counting(function: Callable[..., None]) -> Callable[..., None]:
        def count(target: Tensor, *given: Any, **more: Any) -> None:
            written.append(target.numel())
            function(target, *given, **more)

        return count

    for variant_id in (*trials, trials[0]):
        apply_variant(chain, store, variant_id)  # decodes the files, compiles the kernels
    next_s = [_seconds(lambda one=one: apply_variant(chain, store, one)) for one in trials[1:]]
    original = masking.write_masked, packed_masks.write_masked
    masking.write_masked = packed_masks.write_masked = counting(packed_masks.write_masked)  # type: ignore[assignment]
    shares = []
    for variant_id in (trials[0], *trials[1:]):
        written.clear()
        apply_variant(chain, store, variant_id)
        shares.append((len(written), sum(written)))
    masking.write_masked, packed_masks.write_masked = original
    n_layers, n_weights = (median(values) for values in zip(*shares[1:], strict=True))
    all_s = [_seconds(lambda one=one: apply_variant(chain, store, one)) for one in (*uniform, *uniform, *uniform)]
    return {"cpu_s": median(next_s), "all_layers_cpu_s": median(all_s[2:]), "layers": n_layers, "weights": n_weights}


def _seconds(function: Callable[[], None]) -> float:
    started = process_time()
    function()
    return process_time() - started


def table(found: Mapping[str, Any], n_layers: int) -> str:
    """Return the figures as a table."""
    ordered, library, composed, swaps = (found[name] for name in ("ordered", "library", "composed", "swaps"))
    weights = found["n_weights"]
    lines = [
        f"| {weights / 1e6:.1f} million weights, {len(LEVELS)} levels | ordered | composed | library, once |",
        "|---|---|---|---|",
        f"| bytes per trial | {ordered['bytes']:,.0f} | {composed['bytes']:,.0f} | {library['bytes']:,.0f} |",
        f"| CPU per trial | {ordered['cpu_s']:.3f} s | {composed['cpu_s']:.3f} s | {library['cpu_s']:.3f} s |",
        "",
        f"Swap to a trial that differs in one switch: {swaps['layers']:.0f} of {n_layers} layers, "
        f"{swaps['weights'] / weights:.1%} of the weights; {swaps['cpu_s']:.4f} s CPU, "
        f"against {swaps['all_layers_cpu_s']:.4f} s for all layers.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write the figures."""
    options = _options()
    os.fsync = lambda _: None
    started, size = moment(), SMALL if options.small else FULL
    size = replace(size, blocks=options.blocks or size.blocks)
    with tempfile.TemporaryDirectory(prefix="mlprune-trials-", dir=options.folder) as name:
        found = measure(Path(name), size)
    conditions = {**machine(), "started": started, "ended": moment(), "blocks": size.blocks}
    print(table(found, size.blocks * len(ARCHITECTURES["xglm"].layers)))
    print(f"\n{conditions['cores']} cores of {conditions['cpu']}, load {started['load_1min']}.")
    write_figures(options.out, conditions=conditions, measurements=found)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--blocks", type=int, help="number of blocks (default 24)")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
