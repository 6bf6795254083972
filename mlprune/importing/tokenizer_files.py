"""Tokenizer files of an imported model."""

import shutil
from pathlib import Path

from mlprune.importing.sources.weight_format import Report
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES


def write_tokenizer(source: Path, target: Path, report: Report) -> None:
    """Write the tokenizer of a source to the folder of the imported model.

    Args:
        report: receives lines for the user.
    """
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
