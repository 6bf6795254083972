"""Kinds of accelerators: memory, stated peak rates of matrix products, and the share of the peak that is assumed.

Peaks are those of the vendors' data sheets for dense matrices, without structured sparsity:

- NVIDIA Tesla V100 (SXM2), A100 (SXM), A10, L4, L40S, H100 (SXM) and H200 (SXM) data sheets; GeForce RTX 4090: the
  white paper of the Ada architecture, products in half precision accumulated in float32.
- AMD Instinct MI250 and MI300X data sheets. Each of the two dies of an MI250 is an accelerator of its own for ROCm and
  Ray; the figures are for one die.

Memory is what the driver reports, which is less than the name of the card says. Rates of other versions (PCIe) are
lower.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlprune.errors import BadInputError, unknown
from mlprune.vocabulary import DtypeName

MIB = 2**20
TERA, GIGA = 1e12, 1e9
SLOW_ROWS, FAST_ROWS = 160, 512
SLOW_SHARE, FAST_SHARE = 0.4, 0.6
"""Assumed shares of the peak rate for products of `SLOW_ROWS` and of `FAST_ROWS` rows."""
READ_SHARE = 0.6
"""Assumed share of the peak rate at which weights are read from the accelerator's memory."""


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


def _kind(memory_mib: int, *, half: float, tf32: float, float32: float, memory: float, bf16: bool = True) -> GpuKind:
    """A kind from TFLOP/s and GB/s."""
    return GpuKind(memory_mib, half * TERA, tf32 * TERA, float32 * TERA, memory * GIGA, bf16)


GPU_KINDS: Mapping[str, GpuKind] = {
    "V100-16GB": _kind(16_160, half=125, tf32=15.7, float32=15.7, memory=900, bf16=False),
    "V100-32GB": _kind(32_510, half=125, tf32=15.7, float32=15.7, memory=900, bf16=False),
    "A100-40GB": _kind(40_536, half=312, tf32=156, float32=19.5, memory=1_555),
    "A100-80GB": _kind(81_251, half=312, tf32=156, float32=19.5, memory=2_039),
    "H100-80GB": _kind(81_559, half=989, tf32=494, float32=67, memory=3_350),
    "H200": _kind(143_771, half=989, tf32=494, float32=67, memory=4_800),
    "A10": _kind(23_028, half=125, tf32=62.5, float32=31.2, memory=600),
    "L4": _kind(23_034, half=121, tf32=60, float32=30.3, memory=300),
    "L40S": _kind(46_068, half=362, tf32=183, float32=91.6, memory=864),
    "RTX4090": _kind(24_564, half=165, tf32=82.6, float32=82.6, memory=1_008),
    "MI250": _kind(65_520, half=181, tf32=45.3, float32=45.3, memory=1_638),
    "MI300X": _kind(196_592, half=1_307, tf32=653, float32=163, memory=5_300),
}
"""Name in descriptions of clusters -> kind."""

_MODEL = re.compile(r"(?<![A-Z0-9])(?:RTX ?)?(V100|A100|H100|H200|A10|L4|L40S|4090|MI250|MI300X)X?(?![A-Z0-9])")


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


def _model(kind: str) -> str:
    """Name of a kind without its memory."""
    return kind.partition("-")[0]


def _squeezed(name: str) -> str:
    """Letters and digits of a name, without the vendor's prefix."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(nvidia|amd)?(geforce|instinct|tesla)?", "", letters)
