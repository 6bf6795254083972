"""The eight measurements. Each returns figures for the JSON file, and one line that answers its question."""

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mlprune.evaluation.scoring.batches import TextBatch
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.models.placement.budget import ALL_DEVICES, NO_DEVICES, DeviceBudget
from mlprune.models.placement.memory_estimate import footprint
from mlprune.numeric.selection.levels import levels_of
from mlprune.planning.resources.rates import GPU_KINDS, recognised_kind, share_of_peak
from mlprune.processes.parallel import set_worker_threads
from mlprune.recipe.models import AUTO_BATCH_TOKENS
from mlprune.steps.evaluate.model_evaluation import apply_variant, tasks_cost
from mlprune.store.store import Store
from ray_jobs.workers.recovery import is_out_of_memory
from tests.benchmarks.first_hour.setting import GPU, Setting, n_tokens, score_all, seconds_of
from tests.scored_texts import scored, some_texts
from tests.tiny_models import ALL_FAMILY_NAMES, save_tiny_model
from tests.tiny_recipes import run_here, small_recipe, write_recipe, write_texts

GIB = 2**30


@dataclass(frozen=True)
class Found:
    """What a measurement found."""

    answer: str
    """One line for people."""
    figures: Mapping[str, Any]


def rates_of_products(setting: Setting) -> Found:
    """Are products of few rows as fast as plans assume?"""
    rows, shapes = (160, 512, 1300, 4096, 8192), ((4096, 4096), (4096, 16384), (4096, 256_008))
    if setting.is_small:
        rows, shapes = (8, 16), ((32, 32), (32, 64))
    kind = recognised_kind(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1])
    peak = GPU_KINDS[kind].half if kind else None
    repeats = 2 if setting.is_small else 50
    figures = [
        {"rows": n_rows, "inputs": inputs, "outputs": outputs, "assumed_share": share_of_peak(n_rows)}
        | _product_rates(n_rows, inputs, outputs, peak, repeats=repeats)
        for inputs, outputs in shapes
        for n_rows in rows
    ]
    share = median(one["share_of_peak"] for one in figures if one["rows"] == rows[1]) if peak else None
    found = "an unknown share" if share is None else f"{share:.0%}"
    line = f"products of {rows[1]} rows: {found} of the peak; plans assume {share_of_peak(rows[1]):.0%}"
    return Found(line, {"kind": kind, "products": figures})


def _product_rates(n_rows: int, inputs: int, outputs: int, peak: float | None, *, repeats: int) -> dict[str, Any]:
    """TFLOP/s of a product in bfloat16, rounded to bfloat16 and not rounded."""
    weight = torch.randn(outputs, inputs, device=GPU, dtype=torch.bfloat16)
    states = torch.randn(n_rows, inputs, device=GPU, dtype=torch.bfloat16)
    operations = 2.0 * n_rows * inputs * outputs
    rate = operations / seconds_of(lambda: states @ weight.T, repeats=repeats)
    figures = {"tflops": rate / 1e12, "share_of_peak": rate / peak if peak else None}
    return {**figures, "tflops_float32_sums": _rate_in_float32(states, weight, operations)}


def _rate_in_float32(states: Tensor, weight: Tensor, operations: float) -> float | None:
    """TFLOP/s of the product whose sums are not rounded, which the head needs; None without a kernel for it."""
    with suppress(RuntimeError, NotImplementedError):
        return operations / seconds_of(lambda: torch.mm(states, weight.T, out_dtype=torch.float32), repeats=5) / 1e12
    return None


BACKENDS = (SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION)


def padded_rows(setting: Setting) -> Found:
    """Does any attention kernel give NaN, or other scores than the CPU, where rows are padded on the left?"""
    names = ALL_FAMILY_NAMES[:3] if setting.is_small else ALL_FAMILY_NAMES
    texts, figures = some_texts(), []
    for name in names:
        folder = setting.folder / "padded" / name
        if not folder.exists():
            save_tiny_model(folder, name)
        expected = [score for score, _ in scored(local_chain(folder, accelerators=NO_DEVICES), texts)]
        chain = local_chain(folder, dtype="bfloat16")
        for backend in BACKENDS:
            figures.append({"type": name, "kernel": backend.name, **_differences(chain, texts, expected, backend)})
    n_nan = sum(bool(one.get("not_finite")) for one in figures)
    n_missing = sum("refused" in one for one in figures)
    largest = max((one["largest_difference"] for one in figures if "largest_difference" in one), default=float("nan"))
    line = f"{n_nan} of {len(figures)} pairs of model and kernel give NaN ({n_missing} have no kernel); "
    return Found(f"{line}largest difference of a log-likelihood from the CPU {largest:.2g}", {"pairs": figures})


def _differences(chain: LocalChain, texts: Any, expected: list[float], backend: SDPBackend) -> dict[str, Any]:
    try:
        with sdpa_kernel(backend):
            found = torch.tensor([score for score, _ in scored(chain, texts)])
    except RuntimeError as err:
        return {"refused": str(err).splitlines()[0]}
    is_finite = found.isfinite()
    differences = (found - torch.tensor(expected))[is_finite].abs()
    return {
        "not_finite": int((~is_finite).sum()),
        "largest_difference": float(differences.max()) if len(differences) else 0.0,
    }


def busy_time(setting: Setting) -> Found:
    """How many tokens a second does a small model score, and how long does the GPU wait for the host?"""
    sizes = (64, 128) if setting.is_small else (AUTO_BATCH_TOKENS["cuda"], 32_768, 65_536)
    chain = local_chain(setting.small_model, dtype="bfloat16")
    figures = [
        _rate_of_scoring(chain, setting.batches(2_000, batch_tokens), n_threads)
        | {"batch_tokens": batch_tokens, "threads": n_threads}
        for batch_tokens in sizes
        for n_threads in ((1,) if setting.is_small else (1, 2))
    ]
    best = max(figures, key=lambda one: one["tokens_per_s"])
    where = f"batches of {best['batch_tokens']:,} tokens and {best['threads']} threads"
    line = f"{best['tokens_per_s']:,.0f} tokens/s with {where}, kernels run {best['kernel_share']:.0%} of the time"
    return Found(line, {"batches": figures})


PROFILED = 8
"""Batches that the profiler watches."""


def _rate_of_scoring(chain: LocalChain, batches: list[TextBatch], n_threads: int) -> dict[str, Any]:
    set_worker_threads(n_threads)
    seconds = seconds_of(lambda: score_all(chain, batches))
    cpu = time.process_time()
    score_all(chain, batches)
    host_s = time.process_time() - cpu
    n_passes = chain.n_blocks * sum(1 + len(planned.batch.groups) for planned in batches)
    few = batches[:PROFILED]
    wall = time.perf_counter()
    busy_s = _kernel_seconds(lambda: score_all(chain, few))
    return {
        "tokens_per_s": n_tokens(batches) / seconds,
        "kernel_share": busy_s / (time.perf_counter() - wall),
        "host_us_per_block_pass": 1e6 * host_s / n_passes,
    }


def _kernel_seconds(function: Callable[[], object]) -> float:
    """Seconds in which kernels of the GPU ran, measured by torch's profiler."""
    activities = torch.profiler.supported_activities()  # a pretended GPU is none of them
    with torch.profiler.profile(activities=activities) as profile:
        function()
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


def memory_against_plan(setting: Setting) -> Found:
    """Does scoring need at most the memory that `plan` states, and how much does fragmentation add?"""
    batch_tokens = 64 if setting.is_small else AUTO_BATCH_TOKENS["cuda"]
    sizes = footprint(setting.large_model, "bfloat16")
    cost = tasks_cost("evaluate", sizes, [], batch_tokens=batch_tokens, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    chain = local_chain(setting.large_model, dtype="bfloat16")
    weights = torch.cuda.memory_allocated()
    batches = setting.batches(1_000, batch_tokens)
    seconds = seconds_of(lambda: score_all(chain, batches))
    figures = {
        "planned_working_bytes": cost.device_bytes(1),
        "weight_bytes": weights,
        "working_bytes": torch.cuda.max_memory_allocated() - weights,
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "tokens": n_tokens(batches),
        "seconds": seconds,
    }
    share = figures["working_bytes"] / figures["planned_working_bytes"]
    apart = figures["reserved_bytes"] / max(1, torch.cuda.max_memory_allocated()) - 1
    line = f"{share:.0%} of the planned working memory; {apart:.0%} more reserved than allocated"
    return Found(f"{line}; {figures['tokens'] / seconds:,.0f} tokens/s", figures)


def swaps_of_variants(setting: Setting) -> Found:
    """How long does a swap of variants take, with and without dense copies on the GPU?"""
    folder, sparsities = (
        setting.folder / "swap",
        [0.3, 0.6] if setting.is_small else [round(0.04 * n, 2) for n in range(1, 21)],
    )
    store = Store(folder / "store")
    folder.mkdir(exist_ok=True)
    write_texts(folder)
    recipe = {**small_recipe(), "evaluations": []}
    recipe["model"] = {**recipe["model"], "path": str(setting.small_model), "dtype": "bfloat16"}
    recipe["variants"] = [{"name": "m", "score": "magnitude", "sparsity": sparsities}]
    run_here(write_recipe(folder, recipe), store)
    names = [one.id for one in store.records("variants") if one.rows["variants"][0]["sparsity"] > 0]
    figures = {}
    for what, budget in (
        ("from the files", ALL_DEVICES),
        ("with dense copies", DeviceBudget(1, working_bytes=GIB // 4)),
    ):
        chain = local_chain(setting.small_model, dtype="bfloat16", accelerators=budget)
        random.Random(0).shuffle(names)
        times = [_swap_seconds(chain, store, name) for name in names]
        figures[what] = {"first_s": times[0], "median_s": median(times[1:])}
    line = ", ".join(f"{one['median_s']:.3f} s {what}" for what, one in figures.items())
    return Found(
        f"a swap takes {line}", {"weights": sum(footprint(setting.small_model, "bfloat16").blocks) // 2, **figures}
    )


def _swap_seconds(chain: LocalChain, store: Store, variant_id: str) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    apply_variant(chain, store, variant_id)
    torch.cuda.synchronize()
    return time.perf_counter() - started


def out_of_memory(setting: Setting) -> Found:
    """Is a full GPU recognised, does all memory come back, and does half the batch then run?"""
    chain = local_chain(setting.small_model, dtype="bfloat16")
    before = torch.cuda.memory_allocated()
    room = 2**20 if setting.is_small else 4 * GIB
    ballast = torch.empty(max(0, torch.cuda.mem_get_info()[0] - room), dtype=torch.uint8, device=GPU)
    tried, batch_tokens, is_recognised = [], 2**14 if setting.is_small else 262_144, None
    texts = 4_000 if setting.is_small else 20_000
    while batch_tokens >= 16:
        batches = setting.batches(texts, batch_tokens)[:1]
        try:
            score_all(chain, batches)
        except RuntimeError as err:
            is_recognised = is_out_of_memory(err)
            tried.append({"batch_tokens": batch_tokens, "fits": False, "error": type(err).__name__})
            del err
        else:
            tried.append({"batch_tokens": batch_tokens, "fits": True})
            break
        torch.cuda.empty_cache()
        batch_tokens //= 2
    left = torch.cuda.memory_allocated() - before - ballast.nbytes
    fits = f"{batch_tokens:,} tokens fit" if tried[-1]["fits"] else "no batch fits"
    line = f"{fits} in {room / GIB:.2g} GiB after {len(tried) - 1} errors; {left:,} bytes did not come back"
    return Found(line, {"is_recognised": is_recognised, "tried": tried, "bytes_left": left, "room_bytes": room})


def two_actors(setting: Setting) -> Found:
    """Do two actors with half of a GPU each give the scores of one, within their halves?"""
    texts = some_texts()
    folder = setting.folder / "padded" / "xglm"
    if not folder.exists():
        save_tiny_model(folder, "xglm")
    whole = scored(local_chain(folder, dtype="bfloat16"), texts)
    half = DeviceBudget(0.5, working_bytes=2**20)
    chains = [local_chain(folder, dtype="bfloat16", accelerators=half) for _ in range(2)]
    with nullcontext() if setting.is_small else ThreadPoolExecutor(2) as threads:
        halves = list((threads.map if threads else map)(lambda chain: scored(chain, texts), chains))
    n_differ = sum(one != other for found in halves for one, other in zip(found, whole, strict=True))
    share = torch.cuda.max_memory_allocated() / torch.cuda.mem_get_info()[1]
    line = f"{n_differ} of {2 * len(whole)} scores differ; {share:.1%} of the memory were allocated at most"
    return Found(line, {"n_differ": n_differ, "peak_share": share, "with_ray": _recipe_on_ray(setting)})


def _recipe_on_ray(setting: Setting) -> Any:
    """Run a recipe with two actors on one GPU, which needs a driver: a pretended GPU is in one process only."""
    if setting.is_small:
        return "not run on a pretended GPU"
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415 - loads Ray

    folder = setting.folder / "ray"
    folder.mkdir(exist_ok=True)
    write_texts(folder)
    save_tiny_model(folder / "model")
    rows = []
    for name, compute in (("one", {"replicas": 1}), ("two", {"replicas": 2, "gpus_per_actor": 0.5})):
        path = write_recipe(folder, {**small_recipe(), "compute": compute}, name=f"{name}.yaml")
        run_recipe(path, str(folder / name), address="local")
        store = Store(folder / name)
        rows.append({record.id: record.rows for record in store.records("evaluations")})
    return {"evaluations": len(rows[0]), "equal": rows[0] == rows[1]}


def masks_against_cpu(setting: Setting) -> Found:
    """Does the GPU choose the weights that the CPU chooses?"""
    shape = (16, 32) if setting.is_small else (4096, 16384)
    generator, figures = torch.Generator().manual_seed(0), {}
    for kind, scores in (
        ("float32", torch.rand(shape, generator=generator)),
        ("with ties", torch.randint(0, 50, shape, generator=generator).float()),
    ):
        for structure in ("row", "matrix", "2:4"):
            options: dict[str, Any] = {"sparsities": (0.25, 0.5), "removes": "lowest"}
            there = levels_of(scores.to(GPU), structure, **options).cpu()
            figures[f"{structure}, {kind}"] = int((there != levels_of(scores, structure, **options)).sum())
    n_differ = sum(figures.values())
    return Found(f"{n_differ} of {len(figures) * shape[0] * shape[1]:,} levels differ", figures)


@dataclass(frozen=True)
class Measurement:
    """One measurement, and the environment of its process."""

    run: Callable[[Setting], Found]
    environment: Mapping[str, str] = field(default_factory=dict)


MEASUREMENTS: Mapping[str, Measurement] = {
    "products": Measurement(rates_of_products),
    "padded rows": Measurement(padded_rows),
    "busy time": Measurement(busy_time),
    "memory": Measurement(memory_against_plan),
    "memory without expandable segments": Measurement(
        memory_against_plan, {"PYTORCH_ALLOC_CONF": "expandable_segments:False"}
    ),
    "swaps": Measurement(swaps_of_variants),
    "out of memory": Measurement(out_of_memory),
    "two actors": Measurement(two_actors),
    "masks": Measurement(masks_against_cpu),
}
"""Name -> measurement, the most important first."""
