"""Messages between an import and its child process: one JSON object per line."""

import json
from dataclasses import asdict, dataclass

from mlprune.importing.tensor_names import ModelLayout
from mlprune.json_values import JsonObject, as_object
from mlprune.vocabulary import DtypeName


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


def job_from_line(line: str) -> ChildJob:
    """Parse a job."""
    values = json.loads(line)
    layout = values.pop("layout")
    shapes = {name: tuple(shape) for name, shape in layout["parameters"].items()}
    renamed = tuple((current, published) for current, published in layout["renamed"])
    values["layout"] = ModelLayout(**{**layout, "parameters": shapes, "renamed": renamed})
    values["hashed_files"] = tuple(values["hashed_files"])
    return ChildJob(**values)


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
