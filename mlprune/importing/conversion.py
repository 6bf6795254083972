"""Convert the weights of a source, tensor by tensor. Runs in the child process."""

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from itertools import zip_longest
from pathlib import Path

import torch

from mlprune.importing.child_messages import ChildJob, ChildResult
from mlprune.importing.disk_space import require_space
from mlprune.importing.shard_writer import OutputTensor, write_shards
from mlprune.importing.source_hashes import hash_file
from mlprune.importing.sources.formats import WEIGHT_FORMATS
from mlprune.importing.sources.weight_format import TensorSpec, WeightReader
from mlprune.importing.tensor_names import TensorPlan, file_name, plan_tensors
from mlprune.models.checkpoint.weight_files import DTYPES

LINKED_FORMAT = "safetensors"
"""Format whose files are linked if they need no conversion."""

Send = Callable[[str, object], None]
"""Receives the kind and the value of a message."""


def convert(job: ChildJob, send: Send, *, has_network: bool) -> ChildResult:
    """Hash the files of a source and write its weights.

    Raises:
        ModelError: the source is damaged or does not fit the model, or the disk is too small.
        OSError: a file cannot be read or written.
    """
    source = Path(job.source)
    sizes = {name: (source / name).stat().st_size for name in job.hashed_files}
    with WEIGHT_FORMATS[job.weight_format].open(source, partial(send, "text")) as reader:
        plan = plan_tensors(reader.specs, job.layout, where=source)
        is_linked = job.weight_format == LINKED_FORMAT and _keeps_dtypes(plan, job)
        if not is_linked:
            plan = _without_equal_ties(plan, reader)
        n_bytes = 0 if is_linked else sum(spec.n_values * _dtype(spec, job).itemsize for _, spec in plan.written)
        require_space(Path(job.target).parent, n_bytes, purpose="import")
        send("total", sum(sizes.values()) + n_bytes)
        sha256 = {name: _hash(source / name, job.weight_format, send) for name in job.hashed_files}
        files = _link(job) if is_linked else _write(job, plan, reader, send)
    return ChildResult(
        sha256=sha256,
        n_bytes=sizes,
        weight_files=files,
        is_linked=is_linked,
        n_tensors=len(plan.written),
        dropped=plan.dropped,
        renamed={} if is_linked else plan.renamed(job.layout),
        shared={} if is_linked else dict(plan.shared),
        quantization=reader.quantization,
        torch=torch.__version__,
        peak_memory_bytes=peak_memory_bytes(),
        has_network=has_network,
    )


def _dtype(spec: TensorSpec, job: ChildJob) -> torch.dtype:
    """Return the dtype in which a tensor is written."""
    return spec.dtype if job.dtype is None else DTYPES[job.dtype]


def _keeps_dtypes(plan: TensorPlan, job: ChildJob) -> bool:
    return all(_dtype(spec, job) == spec.dtype for _, spec in plan.written)


def _without_equal_ties(plan: TensorPlan, reader: WeightReader) -> TensorPlan:
    """Leave out tied tensors that are stored twice with equal values; different values are both kept."""
    for target, source in plan.stored_twice:
        if _are_equal(reader, plan.written_spec(target), plan.written_spec(source)):
            plan = plan.without(target, shares=source)
    return plan


def _are_equal(reader: WeightReader, first: TensorSpec, second: TensorSpec) -> bool:
    """Whether two tensors have the same dtype and bytes."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    pieces = zip_longest(reader.pieces(first), reader.pieces(second))
    return all(torch.equal(one.view(torch.uint8), other.view(torch.uint8)) for one, other in pieces)


def _hash(path: Path, weight_format: str, send: Send) -> str:
    """Return the SHA-256 of a file of the source, after a comparison of the checksums inside it."""
    checksums = WEIGHT_FORMATS[weight_format].checksums
    return hash_file(path, checksums(path) if checksums else (), progress=partial(send, "done"))


def _link(job: ChildJob) -> tuple[str, ...]:
    """Hard link the weight files of the source, or copy them to another file system."""
    names = WEIGHT_FORMATS[job.weight_format].find(Path(job.source))
    for name in names:
        link_or_copy(Path(job.source, name).resolve(), Path(job.target, name))
    return names


def link_or_copy(file: Path, target: Path) -> None:
    """Hard link a file; copy it if the file system does not permit a link and has the space."""
    try:
        os.link(file, target)
    except OSError:
        require_space(target.parent.parent, file.stat().st_size, purpose="import")
        shutil.copyfile(file, target)


def _write(job: ChildJob, plan: TensorPlan, reader: WeightReader, send: Send) -> tuple[str, ...]:
    tensors: Iterable[OutputTensor] = (
        OutputTensor(file_name(name, job.layout), spec.shape, _dtype(spec, job), pieces=partial(reader.pieces, spec))
        for name, spec in plan.written
    )
    return write_shards(Path(job.target), tensors, progress=partial(send, "done"))


def peak_memory_bytes() -> int | None:
    """Return the peak resident memory of this process, mapped pages included; None if it is not known."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0][1]) * 1024 if lines else None
