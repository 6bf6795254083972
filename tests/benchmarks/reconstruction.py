"""Measure the reconstruction of one block against SparseGPT of the same block: CPU time of each, and their ratio.

python tests/benchmarks/reconstruction.py             a block of XGLM-564M, 10,120 tokens, 100 steps, 1 thread
python tests/benchmarks/reconstruction.py --small     a tiny block, to check that the benchmark runs

The block has random weights and reads random tokens. SparseGPT: the Gram matrices of the inputs of all layers, from a
pass over the tokens, and new weights of 50 % sparsity. Reconstruction: the dense outputs, which it is fitted to, all
steps and measurements of the loss, and the outputs with the new weights, from masks of 50 % by magnitude.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import torch
from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, Size, random_model
from process import measured
from torch import Tensor

from mlprune.capabilities.reconstruction.block_outputs import BlockOutputs
from mlprune.capabilities.reconstruction.fit import reconstruct
from mlprune.capabilities.reconstruction.fit_settings import Reconstruction
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import FittedOutput, HiddenStates
from mlprune.numeric.activations.gram import GramAccumulator
from mlprune.numeric.selection.levels import row_levels
from mlprune.numeric.weights.sparsegpt import sparsegpt
from mlprune.processes.parallel import set_worker_threads

N_DEMONSTRATIONS, N_TOKENS = 88, 115
MOST_RATIO = 3.0


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Result, and seconds of CPU time."""
    start = process_time()
    return function(), process_time() - start


def measure(size: Size, settings: Reconstruction) -> dict[str, Any]:
    """CPU seconds of both, and the loss before and after."""
    set_worker_threads(1)
    draw = torch.Generator().manual_seed(0)
    n_tokens = min(N_TOKENS, size.tokens)
    texts = [torch.randint(4, size.vocabulary, (1, n_tokens), generator=draw) for _ in range(N_DEMONSTRATIONS)]
    with tempfile.TemporaryDirectory() as folder:
        random_model(size).save_pretrained(folder)
        runner = local_chain(Path(folder)).shards[0].runner
        with torch.inference_mode():
            states = [runner.embed(text, None) for text in texts]
    block, module = runner.architecture.block(0), runner.modules[0]
    weights = {layer: module.get_submodule(layer).get_parameter("weight").detach() for layer in block.layers}

    def products() -> dict[str, Tensor]:
        sums: dict[str, GramAccumulator] = {}

        def add(name: str, inputs: Tensor) -> None:
            sums.setdefault(name, GramAccumulator(inputs.shape[-1], inputs.device, dtype=torch.float64))
            sums[name].add([inputs.flatten(0, -2)])

        with torch.inference_mode(), runner.hooks.listening(add):
            for one in states:
                runner.step(0, one)
            return {name: of_input.matrix() for name, of_input in sums.items()}

    gram, gram_s = timed(products)
    _, weights_s = timed(
        lambda: [
            sparsegpt(weight, gram[block.input_of(layer)], sparsity=0.5, structure="matrix", damping=0.01)
            for layer, weight in weights.items()
        ]
    )

    def outputs() -> list[HiddenStates]:
        with torch.inference_mode():
            return [runner.step(0, one) for one in states]

    dense, dense_s = timed(outputs)
    keeps = {layer: row_levels(weight.abs(), [0.5]) == 1 for layer, weight in weights.items()}
    with torch.no_grad():
        for layer, weight in weights.items():
            weight.mul_(keeps[layer])
    pairs = [FittedOutput(given, after.hidden) for given, after in zip(states, dense, strict=True)]
    objective = BlockOutputs(runner, 0, pairs)
    kept = {f"{layer}.weight": keep for layer, keep in keeps.items()}
    fitted, fit_s = timed(lambda: reconstruct(objective.weights(), kept, objective, [1.0] * len(pairs), settings))
    _, after_s = timed(outputs)
    seconds = {"sparsegpt": gram_s + weights_s, "reconstruction": dense_s + fit_s + after_s}
    return {
        "cpu_seconds": seconds,
        "ratio": seconds["reconstruction"] / seconds["sparsegpt"],
        "loss": sum(fitted.after) / sum(fitted.before),
        "n_tokens": N_DEMONSTRATIONS * n_tokens,
    }


def main() -> None:
    """Measure, print and write the figures."""
    options = _options()
    size = replace(SMALL if options.small else FULL, blocks=1)
    settings = Reconstruction(steps=options.steps)
    started = moment()
    found = measured(measure, size, settings)
    seconds = found["cpu_seconds"]
    print(f"one block of width {size.width}, {found['n_tokens']} tokens, {settings.steps} steps, CPU seconds:")
    print(f"SparseGPT {seconds['sparsegpt']:.1f}, reconstruction {seconds['reconstruction']:.1f}")
    print(f"ratio {found['ratio']:.2f}, at most {MOST_RATIO:.0f}; loss after / before {found['loss']:.3f}")
    conditions = {**machine(), "started": started, "ended": moment()}
    write_figures(options.out, conditions=conditions, steps=settings.steps, measurements=found)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--steps", type=int, default=Reconstruction.steps, help="steps of the optimiser (default 100)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
