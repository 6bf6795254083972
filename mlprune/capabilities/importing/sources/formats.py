"""Registry of the source formats."""

from collections.abc import Mapping
from pathlib import Path

from mlprune.capabilities.importing.sources.compressed_source import (
    find_compressed,
    open_compressed,
    prepare_compressed,
)
from mlprune.capabilities.importing.sources.gguf_config import prepare_gguf, write_config_of_base
from mlprune.capabilities.importing.sources.gguf_file import find_gguf
from mlprune.capabilities.importing.sources.gguf_source import open_gguf
from mlprune.capabilities.importing.sources.pytorch_source import HUB_PATTERNS as PYTORCH_PATTERNS
from mlprune.capabilities.importing.sources.pytorch_source import find_pytorch, open_pytorch, pytorch_checksums
from mlprune.capabilities.importing.sources.safetensors_source import HUB_PATTERNS as SAFETENSORS_PATTERNS
from mlprune.capabilities.importing.sources.safetensors_source import find_safetensors, open_safetensors
from mlprune.capabilities.importing.sources.weight_format import WeightFormat
from mlprune.corpus.text_files import listed_names
from mlprune.errors import ModelError

WEIGHT_FORMATS: Mapping[str, WeightFormat] = {
    "compressed-tensors": WeightFormat(
        "safetensors files with integer codes of compressed-tensors, which are read as values",
        find=find_compressed,
        open=open_compressed,
        hub_patterns=(),  # those of safetensors: the config says that they have codes
        prepare=prepare_compressed,
    ),
    "safetensors": WeightFormat(
        "model.safetensors, or several files with model.safetensors.index.json",
        find=find_safetensors,
        open=open_safetensors,
        hub_patterns=SAFETENSORS_PATTERNS,
    ),
    "pytorch": WeightFormat(
        "pytorch_model.bin, or several files with pytorch_model.bin.index.json",
        find=find_pytorch,
        open=open_pytorch,
        hub_patterns=PYTORCH_PATTERNS,
        checksums=pytorch_checksums,
    ),
    "gguf": WeightFormat(
        "one .gguf file, which is dequantised",
        find=find_gguf,
        open=open_gguf,
        hub_patterns=(),  # a repository has one file per quantisation: the user downloads one
        prepare=prepare_gguf,
        prepare_of=write_config_of_base,
    ),
}
"""Name -> format. Of several formats in one folder, the first one listed here is imported."""


def format_of(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Return the format of the weights in a folder, and the names of its files.

    Raises:
        ModelError: the folder has no weights in a known format, or their index is damaged.
    """
    for name, weight_format in WEIGHT_FORMATS.items():
        files = weight_format.find(folder)
        if files:
            return name, files
    expected = {name: weight_format.summary for name, weight_format in WEIGHT_FORMATS.items()}
    message = "the folder has no weights that can be imported"
    raise ModelError(message, path=str(folder), expected=expected, got=listed_names(folder))
