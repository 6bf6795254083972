"""Measure refiners on the layers of a model: time, CPU time, memory, and the errors of the layers' outputs.

python tests/benchmarks/refinement.py                          Gram swaps, the shape of XGLM-564M, 2 threads
python tests/benchmarks/refinement.py --blocks 2 --refiner least_squares --swaps 0
python tests/benchmarks/refinement.py --small                  a tiny model, to check that the benchmark runs

Weights are random, and so are the inputs: correlated, with features of different sizes and with means. The masks are
those of Wanda at 50 %, row by row. Only the refiner is timed, and separately the layer errors before and after, for one
demonstration set. Every block gets new weights and inputs.
"""

import argparse
from collections import Counter
from dataclasses import replace
from time import perf_counter, process_time
from typing import Any

import torch
from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, Size
from process import measured, memory_bytes
from torch import Tensor

from mlprune.methods import REFINERS, Parameters
from mlprune.numeric.refinement.registry import REFINER_FUNCTIONS
from mlprune.numeric.selection.levels import row_levels
from mlprune.numeric.weights.layer_inputs import FeatureMoments, LayerInputs, layer_errors
from mlprune.numeric.weights.scores import wanda_scores
from mlprune.processes.parallel import set_worker_threads

N_THREADS = 2
N_TOKENS = 2048
N_FACTORS = 64
"""Number of common factors of the inputs of a layer."""
MOST_S = 600.0


def drawn_inputs(n_features: int, generator: torch.Generator) -> Tensor:
    """[tokens, in] float32: common factors plus noise and means, times sizes of a log-normal distribution."""
    factors = torch.randn(N_TOKENS, N_FACTORS, generator=generator)
    loadings = torch.randn(N_FACTORS, n_features, generator=generator) / N_FACTORS**0.5
    noise = torch.randn(N_TOKENS, n_features, generator=generator)
    means = 0.5 * torch.randn(n_features, generator=generator)
    return (factors @ loadings + noise + means) * torch.exp(0.7 * torch.randn(n_features, generator=generator))


def moments_of(inputs: Tensor) -> FeatureMoments:
    """Moments of the inputs as one demonstration."""
    wide = inputs.double()
    sums, squares = wide.sum(0), wide.square().sum(0)
    return FeatureMoments(1, len(wide), sums=sums, squares=squares, within_variances=wide.var(0, correction=0))


def refine(size: Size, name: str, parameters: Parameters) -> dict[str, Any]:
    """Refine the layers of all blocks, and add up seconds and bytes."""
    set_worker_threads(N_THREADS)
    function = REFINER_FUNCTIONS[name]
    generator = torch.Generator().manual_seed(0)
    d, wide = size.width, size.feed_forward
    layers = [("q k v", d, 3 * d), ("out", d, d), ("fc1", d, wide), ("fc2", wide, d)]
    warm_up = drawn_inputs(8, generator)
    function(
        LayerInputs(torch.ones(2, 8), None, 0, "", moments_of(warm_up), (warm_up.T @ warm_up).double()),
        torch.arange(16).reshape(2, 8) % 2 == 0,
        structure="row",
        parameters=parameters,
    )
    seconds: Counter[str] = Counter()
    before, after, n_swaps, memory = [], [], 0, 0
    for block in range(size.blocks):
        for layer, n_in, n_out in layers:
            inputs = drawn_inputs(n_in, generator)
            products = (inputs.T @ inputs).double()
            weight = torch.randn(n_out, n_in, generator=generator) * 0.02
            keep = row_levels(wanda_scores(weight, products.diagonal().sqrt().float()), [0.5]) == 1
            statistics = LayerInputs(weight, None, block, layer, moments_of(inputs), products)
            del inputs
            start = perf_counter(), process_time()
            refined = function(statistics, keep, structure="row", parameters=parameters)
            seconds["refine wall"] += perf_counter() - start[0]
            seconds["refine cpu"] += process_time() - start[1]
            start = perf_counter(), process_time()
            changed = weight * refined.keep if refined.weight is None else refined.weight
            errors = layer_errors(weight, [weight * keep, changed], products=products)
            before.append(errors[0])
            after.append(errors[1])
            seconds["errors wall"] += perf_counter() - start[0]
            seconds["errors cpu"] += process_time() - start[1]
            n_swaps += 0 if refined.n_swaps is None else int(refined.n_swaps.sum())
            memory = max(memory, memory_bytes("VmHWM"))
        print(f"block {block}: {dict(seconds)}", flush=True)
    n_rows = size.blocks * sum(n_out for _, _, n_out in layers)
    return {
        "seconds": dict(seconds),
        "mean_change": sum(a / b - 1 for a, b in zip(after, before, strict=True)) / len(after),
        "swaps_per_row": n_swaps / n_rows,
        "peak_bytes": memory,
    }


def bound_bytes(size: Size) -> int:
    """Memory of the model in float32 and of two Gram matrices of its widest layer."""
    n_weights = size.n_prunable + size.vocabulary * size.width
    return 4 * n_weights + 2 * 8 * max(size.width, size.feed_forward) ** 2


def main() -> None:
    """Measure, print and write the figures."""
    options = _options()
    size = SMALL if options.small else FULL
    if options.blocks:
        size = replace(size, blocks=options.blocks)
    method = REFINERS[options.refiner]
    parameters = replace(method.parameters(), **({} if options.swaps is None else {"swaps": options.swaps}))
    started = moment()
    found = measured(refine, size, options.refiner, parameters)
    allowed = bound_bytes(size) / 2**30
    wall, cpu = found["seconds"]["refine wall"], found["seconds"]["refine cpu"]
    print(f"{options.refiner} {parameters}, {size.blocks} blocks of width {size.width}, {N_THREADS} threads")
    print(f"refined in {wall:.0f} s, {cpu:.0f} s of CPU time; at most {MOST_S:.0f} s for the 24 blocks of XGLM-564M")
    print(f"layer errors: {found['seconds']['errors wall']:.0f} s, {found['seconds']['errors cpu']:.0f} s of CPU time")
    print(f"mean change of the error {found['mean_change']:+.1%}, {found['swaps_per_row']:.1f} swaps per row")
    print(f"peak memory {found['peak_bytes'] / 2**30:.2f} GiB; model and two Gram matrices {allowed:.2f}")
    conditions = {**machine(), "started": started, "ended": moment(), "blocks": size.blocks}
    write_figures(options.out, conditions=conditions, refiner=options.refiner, measurements=found)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--blocks", type=int, help="number of blocks (default 24)")
    parser.add_argument("--refiner", choices=list(REFINERS), default="gram_swaps")
    parser.add_argument("--swaps", type=int, help="most swaps of a row (default: that of the refiner)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
