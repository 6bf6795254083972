"""Rates that an estimate of time uses: measured on this machine, or stated for a kind of accelerator.

The rate of a CPU is measured with the products that the model's layers run, in as many threads as work at the same
time, each with one thread of the tensor library.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import torch

from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles
from mlprune.models.families.records import FAMILIES
from mlprune.numeric.inference.onednn_linear import quick_linear
from mlprune.plan.gpu_kinds import GPU_KINDS, recognised_kind, share_of_peak
from mlprune.plan.node_capacity import Node
from mlprune.steps.job import ModelRef

SAMPLE_BYTES = 2**26
"""Bytes of a weight file that are read to measure the speed of reading."""
SAMPLE_ROWS, SAMPLE_WIDTH, GPU_SAMPLE_WIDTH = 512, 1024, 4096
"""Rows of the products that are measured on a CPU, and inputs and outputs of their weight on a CPU and on a GPU."""
SAMPLE_S = 0.05
"""Time for which products are repeated."""


@dataclass(frozen=True)
class GpuRates:
    """Rates of one accelerator."""

    flops: float
    """Floating-point operations per second of matrix products."""
    weight_bytes: float | None
    """Bytes per second of weights from its memory; None if it is unknown and not counted."""
    source: str
    """Source of the rates, for example `60 % of 312 TFLOP/s in bfloat16, stated for A100-80GB`."""
    is_measured: bool = False


@dataclass(frozen=True)
class Rates:
    """Rates of the machines that a plan is for."""

    thread_flops: float
    """Floating-point operations per second of matrix products in one thread, while the other threads are busy."""
    file_bytes: float
    """Bytes per second from the weight files."""
    gpu: GpuRates | None = None
    """None if no accelerator is used, or the rates of a used one are unknown."""


def measure_rates(model: ModelRef, *, n_threads: int) -> Rates:
    """Measure the rates of this machine's CPU and disk, with 50 ms of products and at most 64 MiB of a weight file."""
    files = WeightFiles(Path(model.path), FAMILIES[model.family])
    largest = max((Path(model.path) / name for name in files.file_names), key=lambda path: path.stat().st_size)
    dtype = DTYPES[model.dtype]
    rate = measure_linear_rate((SAMPLE_ROWS, SAMPLE_WIDTH, SAMPLE_WIDTH), dtype, n_threads=n_threads)
    return Rates(rate / n_threads, measure_read_rate(largest))


def measure_linear_rate(
    shape: tuple[int, int, int], dtype: torch.dtype, *, n_threads: int, seconds: float = SAMPLE_S
) -> float:
    """Measure the floating-point operations per second of linear layers in several threads together.

    Args:
        shape: rows, inputs and outputs of a layer.
        n_threads: layers that are computed at the same time, each with one thread of the tensor library.
        seconds: time for which each thread repeats its product.
    """
    rows, inputs, outputs = shape
    states, weight = torch.ones(rows, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype)
    barrier = Barrier(n_threads)

    def repeat(_: int) -> float:
        with torch.inference_mode():
            quick_linear(states, weight)  # start libraries and raise clock rates
            barrier.wait()
            n_products, started = _repeated(lambda: quick_linear(states, weight), seconds)
        return n_products * 2.0 * rows * inputs * outputs / (time.perf_counter() - started)

    n_torch_threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_threads, initializer=lambda: torch.set_num_threads(1)) as threads:
            return sum(threads.map(repeat, range(n_threads)))
    finally:
        torch.set_num_threads(n_torch_threads)


def _repeated(function: Callable[[], object], seconds: float) -> tuple[int, float]:
    """Call a function until some time is over; return the number of calls and when the first began."""
    n_calls, started = 0, time.perf_counter()
    while n_calls == 0 or time.perf_counter() - started < seconds:
        function()
        n_calls += 1
    return n_calls, started


def measure_gpu_rates(model: ModelRef, *, n_rows: int) -> GpuRates:
    """Measure the rate of the first accelerator of this machine.

    Args:
        n_rows: rows of the products, which are the tokens of a batch.
    """
    states = torch.ones(n_rows, GPU_SAMPLE_WIDTH, dtype=DTYPES[model.dtype], device="cuda")
    weight = torch.ones(GPU_SAMPLE_WIDTH, GPU_SAMPLE_WIDTH, dtype=DTYPES[model.dtype], device="cuda")

    def product() -> None:
        torch.nn.functional.linear(states, weight)
        torch.cuda.synchronize()

    product()
    n_products, started = _repeated(product, SAMPLE_S)
    flops = n_products * 2.0 * n_rows * GPU_SAMPLE_WIDTH**2 / (time.perf_counter() - started)
    return GpuRates(flops, None, f"measured on {torch.cuda.get_device_name()}", is_measured=True)


def stated_gpu_rates(nodes: Sequence[Node], model: ModelRef, *, n_rows: int) -> GpuRates | None:
    """The rates that are stated for the slowest kind of accelerator of some nodes; None if one kind is unknown.

    Args:
        n_rows: rows of the products, which are the tokens of a batch.
    """
    names = {recognised_kind(gpu.name, gpu.memory_bytes) for gpu in dict.fromkeys(g for n in nodes for g in n.gpus)}
    known = [name for name in GPU_KINDS if name in names]
    if None in names or not known:
        return None
    slowest = min(known, key=lambda name: GPU_KINDS[name].rate(model.dtype, n_rows, tf32=model.tf32))
    kind, precision = GPU_KINDS[slowest], "TF32" if model.tf32 and model.dtype == "float32" else model.dtype
    peak = kind.peak(model.dtype, tf32=model.tf32) / 1e12
    source = f"{share_of_peak(n_rows):.0%} of the {peak:g} TFLOP/s that are stated for {slowest} in {precision}"
    return GpuRates(kind.rate(model.dtype, n_rows, tf32=model.tf32), kind.read_rate, source)


def measure_read_rate(path: Path) -> float:
    """Measure the bytes per second from the beginning of a file, after dropping it from the page cache."""
    started, n_bytes = time.perf_counter(), 0
    with path.open("rb", buffering=0) as stream:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, SAMPLE_BYTES, os.POSIX_FADV_DONTNEED)
        while n_bytes < SAMPLE_BYTES and (piece := stream.read(2**22)):
            n_bytes += len(piece)
    return n_bytes / max(time.perf_counter() - started, 1e-9)
