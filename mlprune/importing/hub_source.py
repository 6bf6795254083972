"""Fetch a published checkpoint from a hub: of several formats only the first one that is known."""

from pathlib import Path

from mlprune.hub import snapshot
from mlprune.importing.import_record import Origin
from mlprune.importing.model_import import COPIED_PATTERNS
from mlprune.importing.sources.formats import WEIGHT_FORMATS
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES

SMALL_FILES = ("config.json", "chat_template.jinja", *COPIED_PATTERNS, *TOKENIZER_FILES)
"""Patterns of all files except weights."""


def fetch_source(hub_id: str, revision: str) -> tuple[Path, Origin]:
    """Download a checkpoint to the hub's cache; returns its folder and its origin.

    Raises:
        HubError: the hub has no such repository or revision, or it cannot be reached.
    """
    folder = snapshot(hub_id, kind="model", revision=revision, files=SMALL_FILES)
    origin = Origin(hub_id, revision, commit=folder.name)
    for weight_format in WEIGHT_FORMATS.values():
        folder = snapshot(hub_id, kind="model", revision=origin.commit, files=weight_format.hub_patterns)
        if weight_format.find(folder):
            break
    return folder, origin
