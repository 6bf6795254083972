"""Import of published checkpoints: a checkpoint in any known format becomes a model folder that mlprune reads.

Foreign files are read in a child process without network, which only loads tensors. Weights are written as safetensors,
tensor by tensor.
"""

from mlprune.importing.hub_source import fetch_source, find_source
from mlprune.importing.import_folder import IMPORT_FILE, ImportRecord, Origin, read_import_record
from mlprune.importing.model_import import ImportedModel, import_model

__all__ = [
    "IMPORT_FILE",
    "ImportRecord",
    "ImportedModel",
    "Origin",
    "fetch_source",
    "find_source",
    "import_model",
    "read_import_record",
]
