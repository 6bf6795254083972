"""Measurements: one function each, to be called in its own process."""

import json
import resource
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from inputs import PAD, SMALL, SPARSITY, TEN_SPARSITIES, Size, write_inputs, write_recipe
from ours import N_THREADS, demonstrated, mask_bytes, n_real_tokens, prune_by_recipe, removed_by_layer
from process import memory_bytes, settled_memory_bytes
from torch import Tensor
from transformers import XGLMForCausalLM
from wanda_loop import loop_flops, wanda_loop

from mlprune.numeric.selection.levels import row_levels
from mlprune.planning.resources.rates import measure_linear_rate
from mlprune.processes.parallel import set_worker_threads

NEAR_TIE = 1e-5
"""Relative difference below which two scores count as tied."""


def make_inputs(folder: Path, size: Size) -> dict[str, Any]:
    """Write the inputs of the benchmark and those of the tiny warm-up run."""
    write_inputs(folder, size)
    write_inputs(folder / "warm", SMALL)
    write_recipe(folder / "warm", "dense", size=SMALL, sparsity=list(TEN_SPARSITIES))
    write_recipe(folder / "warm", "sequential", size=SMALL, propagation="sequential")
    weights = folder / "model" / "model.safetensors"
    return {"model_bytes": weights.stat().st_size, "n_prunable": size.n_prunable}


def rate(size: Size) -> dict[str, Any]:
    """Highest rate of matrix products of several shapes, in GFLOP/s on two threads, in both ways of using them.

    `layers`: as mlprune computes the layers of a model, with its kernel and one thread per product. `torch`: torch's
    own products with both threads in each, as the opponent computes them.
    """
    own = (size.tokens, size.width, size.feed_forward)
    shapes = {"square": (4 * size.tokens,) * 3, "fc1": own, "fc2": (own[0], own[2], own[1])}
    found: dict[str, Any] = {}
    for dtype in (torch.float32, torch.bfloat16):
        layers, products = {}, {}
        for name, shape in shapes.items():
            layers[name] = round(measure_linear_rate(shape, dtype, n_threads=N_THREADS, seconds=1.0) / 1e9, 1)
            torch.set_num_threads(N_THREADS)
            products[name] = _product_rate(shape, dtype)
        rates = {"layers": max(layers.values()), "torch": max(products.values())}
        found[str(dtype).removeprefix("torch.")] = {**rates, "layers_by_shape": layers, "torch_by_shape": products}
    return found


def _product_rate(shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    rows, inner, columns = shape
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    seconds = _fastest(lambda: torch.nn.functional.linear(left, right), times=20)
    return round(2 * rows * inner * columns / seconds / 1e9, 1)


def _fastest(function: Callable[[], Any], *, times: int) -> float:
    return min(_seconds(function) for _ in range(times))


def _seconds(function: Callable[[], Any]) -> float:
    start = perf_counter()
    function()
    return perf_counter() - start


def kernel(size: Size) -> dict[str, Any]:
    """Seconds to compute the mask of one matrix, without and with ties."""
    generator = torch.Generator().manual_seed(0)
    plain = torch.rand(size.matrix, size.matrix, generator=generator)
    tied = torch.randint(64, plain.shape, generator=generator).float()
    return {**_kernel_seconds(plain), **{f"{name}_tied": seconds for name, seconds in _kernel_seconds(tied).items()}}


def _kernel_seconds(scores: Tensor) -> dict[str, float]:
    """Median seconds of both methods, measured alternately."""
    theirs, ours = _sorted_mask(scores), _our_mask(scores)
    assert torch.equal(theirs, ours), "both sides choose the same weights"
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(5):
        torch.set_num_threads(N_THREADS)
        found["sort"].append(_seconds(partial(_sorted_mask, scores)))
        found["copy"].append(_seconds(scores.clone))
        torch.set_num_threads(1)
        set_worker_threads(N_THREADS)
        for _ in range(3):
            found["ours"].append(_seconds(partial(_our_mask, scores)))
            found["one"].append(_seconds(partial(row_levels, scores, (SPARSITY,))))
            found["ten"].append(_seconds(partial(row_levels, scores, TEN_SPARSITIES)))
    return {name: median(seconds) for name, seconds in found.items()}


def _sorted_mask(scores: Tensor) -> Tensor:
    """Mask computed as in Wanda: True where removed."""
    order = torch.sort(scores, dim=-1, stable=True)[1]
    removed = torch.zeros_like(scores, dtype=torch.bool)
    return removed.scatter_(1, order[:, : int(scores.shape[1] * SPARSITY)], True)


def _our_mask(scores: Tensor) -> Tensor:
    """Mask computed by mlprune: True where removed."""
    return torch.from_numpy(row_levels(scores, (SPARSITY,)).numpy() == 0)


def ours(warm: Path, recipe: Path, store: Path) -> dict[str, Any]:
    """Run a recipe after a small warm-up recipe that loads every library and compiles every kernel."""
    prune_by_recipe(warm, store.with_name(f"{store.name}-warm"))
    libraries = settled_memory_bytes()
    use = _Use()
    seconds = prune_by_recipe(recipe, store)
    used = use.so_far()
    tokens = n_real_tokens(store)
    return {
        **seconds.as_dict(),
        **used,
        "libraries_bytes": libraries,
        "peak_bytes": memory_bytes("VmHWM"),
        "mask_bytes": mask_bytes(store),
        "mean_real_tokens": sum(tokens) / len(tokens),
    }


class _Use:
    """CPU seconds and page faults of this process from now on."""

    def __init__(self) -> None:
        self._began = resource.getrusage(resource.RUSAGE_SELF)

    def so_far(self) -> dict[str, float]:
        began, now = self._began, resource.getrusage(resource.RUSAGE_SELF)
        seconds = now.ru_utime + now.ru_stime - began.ru_utime - began.ru_stime
        return {"cpu_seconds": round(seconds, 3), "page_faults": now.ru_minflt - began.ru_minflt}


def samples(recipe: Path, store: Path, path: Path) -> dict[str, Any]:
    """Write the token ids of the single set of a recipe to a file."""
    samples = demonstrated(recipe, store)
    path.write_text(json.dumps(samples), encoding="ascii")
    return {"lengths": [len(ids) for ids in samples]}


def loop(folder: Path, size: Size, samples: Path, dtype: str) -> dict[str, Any]:
    """Run Wanda's loop on a model that is already loaded."""
    model, padded, _ = _loaded(folder, size, samples, dtype)
    use = _Use()
    seconds = wanda_loop(model, padded, sparsity=SPARSITY)
    used = use.so_far()
    flops = loop_flops(
        tokens=size.tokens,
        samples=len(padded),
        blocks=size.blocks,
        width=size.width,
        feed_forward=size.feed_forward,
    )
    return {
        **seconds.as_dict(),
        **used,
        "forward_gflop_per_s": round(flops / seconds.forward / 1e9, 1),
        "peak_bytes": memory_bytes("VmHWM"),
    }


def _loaded(folder: Path, size: Size, samples: Path, dtype: str) -> tuple[Any, Tensor, Tensor]:
    """Return the warmed-up model, the padded samples, and a mask of their real tokens."""
    torch.set_num_threads(size.loop_threads)
    model = XGLMForCausalLM.from_pretrained(folder / "model", dtype=getattr(torch, dtype)).eval()
    rows = json.loads(samples.read_text(encoding="ascii"))
    padded = torch.full((len(rows), size.tokens), PAD)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = torch.tensor(ids)
    lengths = torch.tensor([len(ids) for ids in rows])
    with torch.inference_mode():
        model.model(padded[:1], use_cache=False)
    return model, padded, torch.arange(size.tokens) < lengths.unsqueeze(1)


def same_masks(folder: Path, size: Size, samples: Path, store: Path) -> dict[str, Any]:
    """Count the weights on which the loop, counting real tokens, and our sequential sweep disagree.

    The loop continues with our masks. Otherwise one swap of two nearly equal scores would change the inputs of all
    later blocks, and the count would measure how much a random model amplifies differences.
    """
    model, padded, counted = _loaded(folder, size, samples, "float32")
    ours = {(block, layer): removed for _, block, layer, removed in removed_by_layer(store)}
    found = {"n_weights": 0, "n_different": 0, "n_different_beyond_ties": 0, "widest_gap": 0.0}

    def compare(block: int, layer: str, scores: Tensor, theirs: Tensor) -> Tensor:
        differ = theirs != ours[block, layer]
        highest = torch.where(theirs, scores, 0).max(dim=1, keepdim=True)[0]
        gaps = ((scores - highest).abs() / highest)[differ]
        found["n_weights"] += scores.numel()
        found["n_different"] += int(differ.sum())
        found["n_different_beyond_ties"] += int((gaps > NEAR_TIE).sum())
        found["widest_gap"] = max(found["widest_gap"], *gaps.tolist(), 0.0)
        return ours[block, layer]

    seconds = wanda_loop(model, padded, sparsity=SPARSITY, counted=counted, on_mask=compare)
    return {**found, "total": round(seconds.total, 3)}


def agreement(first: Path, second: Path) -> dict[str, Any]:
    """Per sparsity: share of weights on which both agree, and Jaccard index of the removed weights."""
    same: dict[float, int] = {}
    both: dict[float, int] = {}
    either: dict[float, int] = {}
    n_weights: dict[float, int] = {}
    for (sparsity, _, _, a), (_, _, _, b) in zip(removed_by_layer(first), removed_by_layer(second), strict=True):
        n_both, n_either = int((a & b).sum()), int((a | b).sum())
        same[sparsity] = same.get(sparsity, 0) + a.numel() - n_either + n_both
        both[sparsity] = both.get(sparsity, 0) + n_both
        either[sparsity] = either.get(sparsity, 0) + n_either
        n_weights[sparsity] = n_weights.get(sparsity, 0) + a.numel()
    return {
        "equal": {str(sparsity): round(same[sparsity] / n_weights[sparsity], 6) for sparsity in same},
        "jaccard_removed": {str(sparsity): round(both[sparsity] / either[sparsity], 6) for sparsity in both},
    }
