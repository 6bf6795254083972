"""Where the files of an imported model folder come from: a checkpoint on a hub, or a folder.

The record of an import, `mlprune_import.json`, is provenance: ids of base models do not depend on it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.hub import HubFiles, format_size
from mlprune.models.checkpoint.weight_files import read_json_object
from mlprune.vocabulary import DtypeName

IMPORT_FILE = "mlprune_import.json"
COPIED_PATTERNS = (
    "generation_config.json",
    "chat_template.jinja",
    "LICEN[CS]E*",
    "COPYING*",
    "NOTICE*",
    "USE_POLICY*",
    "README.md",
)
"""Files of a source that are copied, in addition to config, tokenizer and weights."""


@dataclass(frozen=True)
class Origin:
    """A repository on a hub."""

    hub_id: str
    """Such as `facebook/xglm-564M`."""
    revision: str
    """The requested branch, tag or commit."""
    commit: str
    """The commit of the revision when it was imported."""


@dataclass(frozen=True)
class HubCheckpoint:
    """The files of a repository that an import reads."""

    origin: Origin
    files: HubFiles
    weight_format: str
    small: tuple[str, ...]
    """Config, tokenizer, licence and similar files."""
    weights: tuple[str, ...]
    """Weight files of one format; of several files also their index."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """All files to download."""
        return (*self.small, *self.weights)

    @property
    def missing(self) -> tuple[str, ...]:
        """The files that are not in the cache."""
        return self.files.missing(self.wanted, kind="model")

    @property
    def written_bytes(self) -> int:
        """Size of what an import writes if it converts no dtype, approximately; linked files need no space."""
        return 0 if self.weight_format == "safetensors" else self.files.n_bytes(self.weights)

    def describe(self) -> str:
        """Return one line about the files and their sizes."""
        missing = self.missing
        size = f"{len(self.wanted)} files, {format_size(self.files.n_bytes(self.wanted))} ({self.weight_format})"
        rest = f"{format_size(self.files.n_bytes(missing))} to download" if missing else "all in the cache"
        origin = self.origin
        return f"{origin.hub_id}, revision {origin.revision}, commit {origin.commit[:12]}: {size}, {rest}"


@dataclass(frozen=True)
class SourceFile:
    """A file of a source."""

    sha256: str
    n_bytes: int


@dataclass(frozen=True)
class QuantisedTensor:
    """How a source stores a tensor whose values an import computes from codes."""

    kind: str
    """Such as `Q4_K` or `int4`."""
    bits: int
    """Bits of a code."""
    n_bytes: int
    """Of codes, scales and zero points."""
    group: int | None = None
    """Consecutive inputs that share a scale; None if the format says it or it is a whole row."""
    is_symmetric: bool | None = None
    """Whether levels are symmetric around 0; None if the format says it."""


@dataclass(frozen=True)
class ImportRecord:
    """The contents of `mlprune_import.json`."""

    mlprune: str
    """Version of mlprune that imported the model."""
    torch: str
    """Version of torch that read the files."""
    weight_format: str
    """Format of the source."""
    source: str
    """Id on the hub, or name of the folder."""
    origin: Origin | None
    """Where the source was downloaded from; None for a folder."""
    dtype: DtypeName | None
    """The requested dtype; None if every tensor kept its own."""
    files: Mapping[str, SourceFile]
    """Name -> file of the source: weights and their index, config, tokenizer."""
    dropped: tuple[str, ...]
    """Tensors of the source that the model does not read."""
    renamed: Mapping[str, str]
    """Name in the source -> name in the model."""
    shared: Mapping[str, str]
    """Parameter without values of its own -> the parameter that has its values."""
    quantization: str | None = None
    """Types of the dequantised tensors, with the number of tensors of each; None if the source is not quantised."""
    part_of: str | None = None
    """Model type of the multimodal checkpoint whose text part this is; None for a whole model."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Other part of the multimodal checkpoint -> number of its tensors."""
    quantised: Mapping[str, QuantisedTensor] = field(default_factory=dict)
    """Name in the model -> how the source stores the tensor; only those of codes."""

    def write(self, folder: Path) -> None:
        """Write the record to a model folder."""
        (folder / IMPORT_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read_import_record(folder: Path) -> ImportRecord | None:
    """Return the record of an imported model folder; None if the folder was not imported.

    Raises:
        ModelError: the record is damaged.
    """
    path = folder / IMPORT_FILE
    if not path.exists():
        return None
    values = dict(read_json_object(path))
    try:
        origin, files, quantised = values.pop("origin"), values.pop("files"), values.pop("quantised", {})
        return ImportRecord(
            **{**values, "dropped": tuple(values["dropped"])},  # type: ignore[arg-type]
            origin=None if origin is None else Origin(**origin),  # type: ignore[arg-type]
            files={name: SourceFile(**file) for name, file in files.items()},  # type: ignore[union-attr,arg-type]
            quantised={name: QuantisedTensor(**one) for name, one in quantised.items()},  # type: ignore[union-attr,arg-type]
        )
    except (TypeError, KeyError, AttributeError) as err:
        raise ModelError("the record of an import is damaged", path=str(path), reason=str(err)) from err
