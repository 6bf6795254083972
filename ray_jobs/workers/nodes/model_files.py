"""Description of the files of a model that every node must have, made on the driver's machine."""

from pathlib import Path

from mlprune.models.checkpoint.content_hashes import file_sha256
from mlprune.models.checkpoint.weight_files import INDEX_FILE
from mlprune.models.loading import SMALL_FILES, inspect_model
from ray_jobs.workers.nodes.required_files import ModelFiles


def model_files(folder: Path) -> ModelFiles:
    """Describe the files of a model that a run reads: config, tokenizer, index and weights."""
    small = [name for name in (*SMALL_FILES, INDEX_FILE) if (folder / name).exists()]
    names = sorted({*inspect_model(folder).content, *small})
    sizes = {name: (folder / name).stat().st_size for name in names}
    return ModelFiles(str(folder), sizes, {name: file_sha256(folder / name) for name in sorted(small)})
