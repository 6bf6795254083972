"""Run the child process of an import, and exchange one JSON message per line with it."""

import json
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from mlprune.capabilities.importing.sources.weight_format import Report
from mlprune.capabilities.importing.tensor_names import ModelLayout, Shape
from mlprune.errors import ModelError
from mlprune.json_values import JsonObject, as_int, as_object, as_str
from mlprune.processes.isolation import child_environment
from mlprune.vocabulary import DtypeName

MODULE = "mlprune.capabilities.importing.conversion"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
Progress = Callable[[int, int], None]
"""Receives the number of bytes processed so far, and the number in all."""


@dataclass(frozen=True)
class ChildJob:
    """What the child process has to do."""

    source: str
    """Folder of the source."""
    weight_format: str
    """Name of its format."""
    hashed_files: tuple[str, ...]
    """Names of the files of the source to hash."""
    target: str
    """Folder to write to."""
    dtype: DtypeName | None
    """Dtype to convert to; None keeps that of each tensor."""
    layout: ModelLayout

    def to_line(self) -> str:
        """Return the job as one line."""
        return json.dumps(asdict(self)) + "\n"


@dataclass(frozen=True)
class ChildResult:
    """What the child process did."""

    sha256: dict[str, str]
    """Name of a source file -> its SHA-256."""
    n_bytes: dict[str, int]
    """Name of a source file -> its size."""
    weight_files: tuple[str, ...]
    """Names of the files written."""
    is_linked: bool
    """Whether they are the files of the source, linked or copied."""
    n_tensors: int
    dropped: tuple[str, ...]
    renamed: dict[str, str]
    """Name in the source -> name in the model."""
    shared: dict[str, str]
    """Name in the model -> name of the tensor that has its values."""
    quantization: str | None
    """Types of the dequantised tensors, with the number of tensors of each."""
    torch: str
    peak_memory_bytes: int | None
    """Peak resident memory, mapped pages included; None if the system does not report it."""
    has_network: bool
    """Whether the system did not permit a network namespace."""
    left_out: dict[str, int]
    """Other part of a multimodal model -> number of its tensors."""
    quantised: dict[str, dict[str, Any]]
    """Name in the model -> fields of `QuantisedTensor`."""


def job_from_line(line: str) -> ChildJob:
    """Parse a job."""
    values = json.loads(line)
    layout = values.pop("layout")
    stored = {name: tuple(map(_shapes, forms)) for name, forms in layout["stored"].items()}
    renamed = tuple((current, published) for current, published in layout["renamed"])
    shapes = {"parameters": _shapes(layout["parameters"]), "stored": stored}
    changed = {**shapes, "renamed": renamed, "unread": tuple(layout["unread"])}
    values["layout"] = ModelLayout(**{**layout, **changed})
    values["hashed_files"] = tuple(values["hashed_files"])
    return ChildJob(**values)


def _shapes(values: Mapping[str, list[int] | None]) -> dict[str, Shape | None]:
    return {name: None if shape is None else tuple(shape) for name, shape in values.items()}


def message_line(kind: str, value: object) -> str:
    """Return a message as one line.

    Args:
        kind: `text` (a line for the user), `total` and `done` (bytes to process, bytes processed), `error` or `result`.
    """
    return json.dumps({kind: value}, default=str) + "\n"


def result_from(value: JsonObject) -> ChildResult:
    """Parse a result."""
    values = {**value, "weight_files": tuple(value["weight_files"]), "dropped": tuple(value["dropped"])}  # type: ignore[arg-type]
    return ChildResult(**values)  # type: ignore[arg-type]


def parse_message(line: str) -> JsonObject:
    """Parse a message; raises ValueError if the line is not one."""
    return as_object(json.loads(line))


def run_child(job: ChildJob, *, lock: int, report: Report, progress: Progress) -> ChildResult:
    """Run a job in a child process without network.

    Args:
        lock: file descriptor that locks the folder that the child writes to.
        report: receives lines for the user.
    Raises:
        ModelError: the source cannot be imported, or the child process died.
    """
    with TemporaryFile() as errors, _started(errors, lock) as process:
        assert process.stdin is not None, "the input is a pipe"
        process.stdin.write(job.to_line())
        process.stdin.flush()
        result = _follow(process, report=report, progress=progress)
        process.stdin.close()
        code = process.wait()
        if result is None:
            raise _died(code, errors)
        return result


@contextmanager
def _started(errors: IO[bytes], lock: int) -> Iterator["subprocess.Popen[str]"]:
    """Start the child; it is killed if the block raises."""
    command = [sys.executable, "-P", "-m", "mlprune.processes.isolation", MODULE]
    with subprocess.Popen(  # noqa: S603 - the command is ours
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        pass_fds=(lock,),
        env={**child_environment(), **OFFLINE},
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _follow(process: "subprocess.Popen[str]", *, report: Report, progress: Progress) -> ChildResult | None:
    """Read messages until the child ends; returns its result, if it sent one."""
    assert process.stdout is not None, "the output is a pipe"
    n_done = n_total = 0
    result = None
    for line in process.stdout:
        if not line.endswith("\n"):
            break  # the child died while it wrote a message
        ((kind, value),) = parse_message(line).items()
        if kind == "text":
            report(as_str(value))
        elif kind == "error":
            raise _error(as_object(value))
        elif kind == "result":
            result = result_from(as_object(value))
        else:
            n_done, n_total = (0, as_int(value)) if kind == "total" else (n_done + as_int(value), n_total)
            progress(n_done, n_total)
    return result


def _error(value: JsonObject) -> ModelError:
    return ModelError(as_str(value["message"]), dict(as_object(value["context"])))


def _died(code: int, errors: IO[bytes]) -> ModelError:
    errors.seek(0)
    lines = deque((line for line in errors.read().decode(errors="replace").splitlines() if line.strip()), maxlen=1)
    if code == -signal.SIGKILL:
        reason = "killed by signal 9: the machine may be out of memory"
    else:
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
    last_line = lines[0] if lines else ""
    return ModelError("the process that converts the weights died", reason=reason, last_line=last_line)
