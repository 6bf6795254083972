"""Kinds of accelerators, and rates that an estimate of time uses: measured on this machine, or stated for a kind.

Peaks are those of the vendors' data sheets for dense matrices, without structured sparsity:

- NVIDIA Tesla V100 (SXM2), A100 (SXM), A10, L4, L40S, H100 (SXM) and H200 (SXM) data sheets; GeForce RTX 4090: the
  white paper of the Ada architecture, products in half precision accumulated in float32.
- AMD Instinct MI250 and MI300X data sheets. Each of the two dies of an MI250 is an accelerator of its own for ROCm and
  Ray; the figures are for one die.

Memory is what the driver reports, which is less than the name of the card says. Rates of other versions (PCIe) are
lower.

The rate of a CPU is measured with the products that the model's layers run, in as many threads as work at the same
time, each with one thread of the tensor library.
"""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import torch

from mlprune.errors import BadInputError, unknown
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, architecture_at
from mlprune.numeric.log_probs import quick_linear
from mlprune.planning.resources.node_capacity import Node
from mlprune.steps.job import ModelRef
from mlprune.vocabulary import DtypeName

MIB = 2**20
TERA, GIGA = 1e12, 1e9
SLOW_ROWS, FAST_ROWS = 160, 512
SLOW_SHARE, FAST_SHARE = 0.4, 0.6
"""Assumed shares of the peak rate for products of `SLOW_ROWS` and of `FAST_ROWS` rows."""
READ_SHARE = 0.6
"""Assumed share of the peak rate at which weights are read from the accelerator's memory."""
_MODEL = re.compile(r"(?<![A-Z0-9])(?:RTX ?)?(V100|A100|H100|H200|A10|L4|L40S|4090|MI250|MI300X)X?(?![A-Z0-9])")
SAMPLE_BYTES = 2**26
"""Bytes of a weight file that are read to measure the speed of reading."""
SAMPLE_ROWS, SAMPLE_WIDTH, GPU_SAMPLE_WIDTH = 512, 1024, 4096
"""Rows of the products that are measured on a CPU, and inputs and outputs of their weight on a CPU and on a GPU."""
SAMPLE_S = 0.05
"""Time for which products are repeated."""


@dataclass(frozen=True)
class GpuKind:
    """A model of accelerator."""

    memory_mib: int
    half: float
    """Peak operations per second of products in float16, and in bfloat16 if it has that."""
    tf32: float
    """The same in float32 with factors rounded to TF32; as `float32` if it has no such mode."""
    float32: float
    memory_rate: float
    """Bytes per second from its memory."""
    has_bfloat16: bool = True

    @property
    def memory_bytes(self) -> int:
        """Memory of the accelerator."""
        return self.memory_mib * MIB

    def peak(self, dtype: DtypeName, *, tf32: bool = False) -> float:
        """Return the peak operations per second of matrix products in a dtype."""
        if dtype == "float32":
            return self.tf32 if tf32 else self.float32
        return self.half if dtype == "float16" or self.has_bfloat16 else self.float32

    def rate(self, dtype: DtypeName, n_rows: int, *, tf32: bool = False) -> float:
        """Return the assumed operations per second of products of some rows."""
        return self.peak(dtype, tf32=tf32) * share_of_peak(n_rows)

    @property
    def read_rate(self) -> float:
        """Assumed bytes per second from its memory."""
        return self.memory_rate * READ_SHARE

    @classmethod
    def stated(
        cls, memory_mib: int, *, half: float, tf32: float, float32: float, memory: float, bf16: bool = True
    ) -> "GpuKind":
        """A kind from TFLOP/s and GB/s."""
        return cls(memory_mib, half * TERA, tf32 * TERA, float32 * TERA, memory * GIGA, bf16)


GPU_KINDS: Mapping[str, GpuKind] = {
    "V100-16GB": GpuKind.stated(16_160, half=125, tf32=15.7, float32=15.7, memory=900, bf16=False),
    "V100-32GB": GpuKind.stated(32_510, half=125, tf32=15.7, float32=15.7, memory=900, bf16=False),
    "A100-40GB": GpuKind.stated(40_536, half=312, tf32=156, float32=19.5, memory=1_555),
    "A100-80GB": GpuKind.stated(81_251, half=312, tf32=156, float32=19.5, memory=2_039),
    "H100-80GB": GpuKind.stated(81_559, half=989, tf32=494, float32=67, memory=3_350),
    "H200": GpuKind.stated(143_771, half=989, tf32=494, float32=67, memory=4_800),
    "A10": GpuKind.stated(23_028, half=125, tf32=62.5, float32=31.2, memory=600),
    "L4": GpuKind.stated(23_034, half=121, tf32=60, float32=30.3, memory=300),
    "L40S": GpuKind.stated(46_068, half=362, tf32=183, float32=91.6, memory=864),
    "RTX4090": GpuKind.stated(24_564, half=165, tf32=82.6, float32=82.6, memory=1_008),
    "MI250": GpuKind.stated(65_520, half=181, tf32=45.3, float32=45.3, memory=1_638),
    "MI300X": GpuKind.stated(196_592, half=1_307, tf32=653, float32=163, memory=5_300),
}
"""Name in descriptions of clusters -> kind."""


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


def share_of_peak(n_rows: int) -> float:
    """Return the assumed share of the peak rate for products of some rows.

    60 % for 512 rows or more, 40 % for 160 rows, linear between the two, and proportional to the rows below 160, where
    reading the weights takes the time.
    """
    if n_rows < SLOW_ROWS:
        return SLOW_SHARE * n_rows / SLOW_ROWS
    above = min(1.0, (n_rows - SLOW_ROWS) / (FAST_ROWS - SLOW_ROWS))
    return SLOW_SHARE + above * (FAST_SHARE - SLOW_SHARE)


def named_kind(name: str) -> str:
    """Return the name of the kind that a user writes, in any case and with any separators.

    A model that has one kind needs no memory in its name: `H100`.

    Raises:
        BadInputError: the kind is unknown.
    """
    models = [_model(kind) for kind in GPU_KINDS]
    kinds = {_squeezed(_model(kind)): kind for kind in GPU_KINDS if models.count(_model(kind)) == 1}
    kinds |= {_squeezed(kind): kind for kind in GPU_KINDS}
    if _squeezed(name) not in kinds:
        raise unknown("kind of accelerator", name, GPU_KINDS, error=BadInputError, n_nearest=2)
    return kinds[_squeezed(name)]


def recognised_kind(driver_name: str, memory_bytes: int) -> str | None:
    """Return the name of the kind that a driver reports, such as `NVIDIA A100-SXM4-80GB`; None if it is unknown.

    Args:
        driver_name: the driver's name of the accelerator, or the name of a kind.
        memory_bytes: free memory. Of the kinds of one model, the smallest that has it is meant.
    """
    if driver_name in GPU_KINDS:
        return driver_name
    match = _MODEL.search(driver_name.upper())
    if match is None:
        return None
    kinds = [kind for kind in GPU_KINDS if _model(kind) in (match[1], f"RTX{match[1]}")]
    return next((kind for kind in kinds if memory_bytes <= GPU_KINDS[kind].memory_bytes), kinds[-1])


def measure_rates(model: ModelRef, *, n_threads: int) -> Rates:
    """Measure the rates of this machine's CPU and disk, with 50 ms of products and at most 64 MiB of a weight file."""
    files = WeightFiles(Path(model.path), architecture_at(model.path))
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


def _model(kind: str) -> str:
    """Name of a kind without its memory."""
    return kind.partition("-")[0]


def _squeezed(name: str) -> str:
    """Letters and digits of a name, without the vendor's prefix."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(nvidia|amd)?(geforce|instinct|tesla)?", "", letters)


def _repeated(function: Callable[[], object], seconds: float) -> tuple[int, float]:
    """Call a function until some time is over; return the number of calls and when the first began."""
    n_calls, started = 0, time.perf_counter()
    while n_calls == 0 or time.perf_counter() - started < seconds:
        function()
        n_calls += 1
    return n_calls, started
