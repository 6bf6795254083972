"""Measure a smaller export on the CPU: the forward pass of a model after FLAP against that of the dense model.

python tests/benchmarks/smaller.py                 the shape of XGLM-564M, float32; two minutes and 5 GB of disk
python tests/benchmarks/smaller.py --blocks 6      a quarter of it
python tests/benchmarks/smaller.py --small         a tiny model, to check that the benchmark runs

FLAP removes 30 % of the prunable weights of a random model, once with one threshold over all blocks and once with equal
widths. The forward pass ends with the last hidden states: the product with the vocabulary is left out. Passes of the
dense and the smaller model alternate in one process, so that other work on the machine affects both alike; the ratio is
that of the shortest times.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, Size, random_model
from rows import HEAD, Row
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.capabilities.publishing.export import LOADER, make_smaller
from mlprune.capabilities.units.flap import UnitGroup, feature_scores, removed_units, unit_scores
from mlprune.models.architecture.units import UnitLayout, unit_layouts
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from tests.tiny_models import ARCHITECTURES

N_THREADS = 2
SPARSITY = 0.3
SEQUENCES = 4
LARGEST_RATIO = 0.8
"""Largest allowed ratio of the time of the smaller model to that of the dense model."""
(BLOCK,) = ARCHITECTURES["xglm"].kinds


def frozen_model(size: Size) -> Any:
    """A random XGLM for forward passes."""
    return random_model(size).eval().requires_grad_(requires_grad=False)


def random_tokens(size: Size) -> Tensor:
    """Token ids [sequences, length]."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(4, size.vocabulary, (SEQUENCES, size.tokens // 4), generator=generator)


def layouts_of(model: Any) -> tuple[UnitLayout, ...]:
    """The units of every block."""
    block = model.model.layers[0]
    shapes = {layer: tuple(block.get_submodule(layer).weight.shape) for layer in BLOCK.layers}
    return unit_layouts(BLOCK, shapes, model.config.to_dict())


def observed_moments(model: Any, tokens: Tensor) -> dict[tuple[int, str], FeatureMoments]:
    """(block, layer) -> moments of the inputs of output and down projections."""
    moments: dict[tuple[int, str], FeatureMoments] = {}
    handles = []
    for index, block in enumerate(model.model.layers):
        for layer in ("self_attn.out_proj", "fc2"):

            def observe(_: Any, inputs: Any, key: tuple[int, str] = (index, layer)) -> None:
                rows = inputs[0].flatten(0, -2).double()
                variances = rows.var(dim=0, correction=0)
                moments[key] = FeatureMoments(1, len(rows), rows.sum(0), rows.square().sum(0), variances)

            handles.append(block.get_submodule(layer).register_forward_pre_hook(observe))
    model.model(tokens)
    for handle in handles:
        handle.remove()
    return moments


def removed_masks(model: Any, tokens: Tensor, *, equal_widths: bool) -> dict[tuple[int, str], Tensor]:
    """(block, layer) -> bool [out, in], True for weights that FLAP removes."""
    layouts, moments = layouts_of(model), observed_moments(model, tokens)
    groups, places = [], []
    for index, block in enumerate(model.model.layers):
        for layout in layouts:
            scores = feature_scores(block.get_submodule(layout.output).weight, moments[index, layout.output])
            power = 2.0 if layout.kind == "heads" else 1.0
            units = unit_scores(scores, layout.columns, n_units=layout.n_units, power=power)
            groups.append(UnitGroup(index, layout.kind, units, layout.unit_weights))
            places.append((index, layout))
    chosen = removed_units(groups, SPARSITY, equal_widths=equal_widths)
    shapes = {layer: tuple(model.model.layers[0].get_submodule(layer).weight.shape) for layer in BLOCK.layers}
    return {
        (index, layer): ~mask
        for (index, layout), removed in zip(places, chosen, strict=True)
        for layer, mask in layout.keep_masks(removed, shapes).items()
    }


def smaller_model(model: Any, removed: dict[tuple[int, str], Tensor], folder: Path) -> tuple[Any, Any]:
    """Mask the weights of a model, export it smaller, and return the loaded model and its sizes."""
    for (block, layer), mask in removed.items():
        model.model.layers[block].get_submodule(layer).weight.masked_fill_(mask, 0)
    model.save_pretrained(folder)
    sizes = make_smaller(folder, architecture_at(folder), removed.items())
    if sizes.needs_loader is None:
        return AutoModelForCausalLM.from_pretrained(folder).eval(), sizes
    namespace: dict[str, Any] = {}
    exec(compile((folder / LOADER).read_text("utf-8"), LOADER, "exec"), namespace)
    return namespace["load"](folder), sizes


@torch.inference_mode()
def measured_pair(size: Size, folder: Path, *, equal_widths: bool, n_repeats: int) -> dict[str, Any]:
    """Time of a forward pass of both models, sizes, and the largest difference to the masked model."""
    dense, masked, tokens = frozen_model(size), frozen_model(size), random_tokens(size)
    removed = removed_masks(dense, tokens, equal_widths=equal_widths)
    smaller, sizes = smaller_model(masked, removed, folder)
    expected, got = masked.model(tokens)[0], smaller.model(tokens)[0]
    seconds: dict[str, list[tuple[float, float]]] = {"dense": [], "smaller": []}
    for _ in range(n_repeats):
        for name, model in (("dense", dense), ("smaller", smaller)):
            wall, cpu = perf_counter(), process_time()
            model.model(tokens)
            seconds[name].append((perf_counter() - wall, process_time() - cpu))
    return {
        "seconds": seconds,
        "difference": float((got - expected).abs().max() / expected.abs().max()),
        "removed": sum(int(mask.sum()) for mask in removed.values()) / size.n_prunable,
        "units": sizes.units,
        "bytes": {name: _block_bytes(model) for name, model in (("dense", dense), ("smaller", smaller))},
    }


def _block_bytes(model: Any) -> int:
    return sum(parameter.nbytes for parameter in model.model.layers.parameters())


def row_of(name: str, found: dict[str, Any]) -> Row:
    """Row of one way to choose the units."""
    wall, cpu = (
        {model: min(one[kind] for one in seconds) for model, seconds in found["seconds"].items()} for kind in (0, 1)
    )
    dense, smaller = (
        f"{wall[model]:.2f} s ({cpu[model]:.2f} s), {found['bytes'][model] / 2**20:.0f} MiB"
        for model in ("dense", "smaller")
    )
    units = ", ".join(f"{kept} of {n} {kind}" for kind, n, kept in found["units"])
    what = f"forward pass without {found['removed']:.1%} of the prunable weights, {name}: {units}; wall (CPU), blocks"
    ratio = wall["smaller"] / wall["dense"]
    text = f"{ratio:.2f}x (CPU {cpu['smaller'] / cpu['dense']:.2f}x)"
    return Row(f"smaller {name}", what, dense, smaller, text, f"<= {LARGEST_RATIO:g}x", ratio <= LARGEST_RATIO)


def main() -> None:
    """Measure, print the table and write the figures."""
    options = _options()
    torch.set_num_threads(N_THREADS)
    started, size = moment(), SMALL if options.small else FULL
    if options.blocks:
        size = replace(size, blocks=options.blocks)
    found = {}
    for name, equal_widths in (("one threshold", False), ("equal widths", True)):
        with tempfile.TemporaryDirectory(prefix="mlprune-smaller-", dir=options.folder) as folder:
            found[name] = measured_pair(size, Path(folder), equal_widths=equal_widths, n_repeats=options.repeat)
    rows = [row_of(name, one) for name, one in found.items()]
    conditions = {**machine(), "started": started, "ended": moment(), "blocks": size.blocks}
    print("\n".join([HEAD, *(row.line for row in rows)]))
    tokens = SEQUENCES * (size.tokens // 4)
    print(f"\n{tokens} tokens, {conditions['cores']} cores of {conditions['cpu']}, load {started['load_1min']}.")
    write_figures(options.out, conditions=conditions, rows=[row.as_dict() for row in rows], measurements=found)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--blocks", type=int, help="number of blocks (default 24)")
    parser.add_argument("--repeat", type=int, default=9, help="passes of each model (default 9)")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folders")
    return parser.parse_args()


if __name__ == "__main__":
    main()
