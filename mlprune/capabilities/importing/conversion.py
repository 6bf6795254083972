"""Convert the weights of a source in the child process, and write them as safetensors shards.

Write safetensors shards: the header first, then one tensor after the other.

A shard has at most `MAX_SHARD_BYTES`, unless a single tensor is larger. Several shards get an index.

The process that reads the files of a source and writes the weights.

It has no network and starts no programs, see `mlprune.processes.isolation`. Its first line of input is the job. It ends
when its input ends, which happens when the importing process is killed.
"""

import hashlib
import json
import os
import shutil
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.importing.child_process import ChildJob, ChildResult, job_from_line, message_line
from mlprune.capabilities.importing.import_folder import require_space
from mlprune.capabilities.importing.sources.formats import WEIGHT_FORMATS
from mlprune.capabilities.importing.sources.weight_format import Checksum, TensorSpec, WeightReader
from mlprune.capabilities.importing.tensor_names import TensorPlan, file_name, plan_tensors
from mlprune.errors import BadInputError, ModelError
from mlprune.models.checkpoint.safetensors_header import header_bytes
from mlprune.models.checkpoint.weight_files import DTYPES, INDEX_FILE, SINGLE_FILE
from mlprune.processes.isolation import refuse_sockets_and_programs

MAX_SHARD_BYTES = 5 * 10**9
Pieces = Callable[[], Iterator[Tensor]]
_PIECE_BYTES = 2**24
LINKED_FORMAT = "safetensors"
"""Format whose files are linked if they need no conversion."""
Send = Callable[[str, object], None]
"""Receives the kind and the value of a message."""


@dataclass(frozen=True)
class OutputTensor:
    """One tensor to write."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    """A float dtype of `SAFETENSORS_TYPES`."""
    pieces: Pieces
    """Yields its values in row-major order as tensors of one dimension, in any float dtype."""

    @property
    def n_bytes(self) -> int:
        """Number of bytes of its values."""
        return prod(self.shape) * self.dtype.itemsize


def write_shards(
    folder: Path,
    tensors: Iterable[OutputTensor],
    *,
    max_bytes: int = MAX_SHARD_BYTES,
    progress: Callable[[int], None],
) -> tuple[str, ...]:
    """Write tensors as safetensors files, with an index if there are several; returns the names of the files.

    Args:
        max_bytes: largest size of the tensors of one file.
        progress: receives the number of bytes of each piece that was written.
    Raises:
        ModelError: a value is too large for the dtype, or a source has too few or too many values.
        OSError: the disk is full.
    """
    shards = _shards(list(tensors), max_bytes)
    if len(shards) == 1:
        _write_file(folder / SINGLE_FILE, shards[0], progress)
        return (SINGLE_FILE,)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write_file(folder / name, shard, progress)
        weight_map |= dict.fromkeys((tensor.name for tensor in shard), name)
    total = sum(tensor.n_bytes for shard in shards for tensor in shard)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return (*dict.fromkeys(weight_map.values()), INDEX_FILE)


def _shards(tensors: Sequence[OutputTensor], max_bytes: int) -> list[list[OutputTensor]]:
    """Distribute tensors over shards in their order."""
    shards: list[list[OutputTensor]] = [[]]
    n_bytes = 0
    for tensor in tensors:
        if shards[-1] and n_bytes + tensor.n_bytes > max_bytes:
            shards.append([])
            n_bytes = 0
        shards[-1].append(tensor)
        n_bytes += tensor.n_bytes
    return shards


def _write_file(path: Path, tensors: Sequence[OutputTensor], progress: Callable[[int], None]) -> None:
    """Write one file. Wider dtypes come first, as the library writes them, so that every tensor is aligned."""
    ordered = sorted(tensors, key=lambda tensor: -tensor.dtype.itemsize)
    with path.open("wb", buffering=0) as stream:
        described = ((tensor.name, tensor.dtype, tensor.shape) for tensor in ordered)
        stream.write(header_bytes(described, {"format": "pt"}))
        for tensor in ordered:
            n_written = 0
            for piece in tensor.pieces():
                data = converted(piece, tensor.dtype, tensor.name).view(torch.uint8).numpy().data
                while data:
                    n_bytes = stream.write(data)
                    data = data[n_bytes:]
                    n_written += n_bytes
                    progress(n_bytes)
            if n_written != tensor.n_bytes:
                message = "a tensor of the source has another size than its shape says"
                raise ModelError(message, tensor=tensor.name, expected=tensor.n_bytes, got=n_written)
        os.fsync(stream.fileno())


def converted(values: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Return values in a dtype, rounded to nearest (ties to even); the same tensor if it has the dtype.

    Raises:
        ModelError: a finite value is too large for the dtype.
    """
    if values.dtype == dtype:
        return values
    rounded = values.to(dtype)
    n_lost = int((torch.isinf(rounded) & torch.isfinite(values)).sum())
    if n_lost:
        message = "values are too large for the dtype; import with another --dtype"
        raise ModelError(message, tensor=name, dtype=str(dtype).removeprefix("torch."), n_values=n_lost)
    return rounded


def hash_file(path: Path, checksums: Sequence[Checksum], *, progress: Callable[[int], None]) -> str:
    """Return the SHA-256 of a file.

    Args:
        checksums: of ranges of the file.
        progress: receives the number of bytes of each piece that was read.
    Raises:
        ModelError: a checksum differs: the file is damaged.
        OSError: the file cannot be read.
    """
    state = hashlib.sha256()
    computed = [0] * len(checksums)
    position = 0
    with path.open("rb", buffering=0) as stream:
        while data := stream.read(_PIECE_BYTES):
            state.update(data)
            for number, checksum in enumerate(checksums):
                if checksum.begin < position + len(data) and checksum.end > position:
                    part = memoryview(data)[max(0, checksum.begin - position) : checksum.end - position]
                    computed[number] = zlib.crc32(part, computed[number])
            position += len(data)
            progress(len(data))
    wrong = [checksum.name for checksum, crc32 in zip(checksums, computed, strict=True) if checksum.crc32 != crc32]
    if wrong:
        message = "a weight file is damaged: its checksums differ; get the file again"
        raise ModelError(message, path=str(path), records=wrong[:5], n_records=len(wrong))
    return state.hexdigest()


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
        keeps_dtypes = all(_dtype(spec, job) == spec.dtype for _, spec in plan.written)
        is_linked = job.weight_format == LINKED_FORMAT and keeps_dtypes and not job.layout.is_part
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
        left_out=dict(plan.left_out),
        quantised={name: asdict(spec.codes) for name, spec in plan.written if spec.codes is not None},
    )


def _dtype(spec: TensorSpec, job: ChildJob) -> torch.dtype:
    """Return the dtype in which a tensor is written."""
    return spec.dtype if job.dtype is None else DTYPES[job.dtype]


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


def main(*, has_network: bool) -> None:
    """Run the job on standard input; messages go to standard output.

    Args:
        has_network: whether the process could not leave the network.
    """
    line = sys.stdin.readline()
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not look like a message
    threading.Thread(target=_exit_with_parent, daemon=True).start()

    def send(kind: str, value: object) -> None:
        messages.write(message_line(kind, value))
        messages.flush()

    refuse_sockets_and_programs()
    try:
        result = convert(job_from_line(line), send, has_network=has_network)
        send("result", vars(result))
    except BadInputError as err:
        send("error", {"message": err.message, "context": err.context})
    except OSError as err:
        reason = err.strerror or str(err)
        context = {"path": str(err.filename), "reason": reason}
        send("error", {"message": "a file cannot be read or written", "context": context})


def _exit_with_parent() -> None:
    """End this process when its input ends."""
    sys.stdin.read()
    os._exit(1)
