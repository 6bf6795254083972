"""Put a variant of an imported text part back into the multimodal checkpoint that it was imported from.

All files of the checkpoint are copied. In the copies, the tensors that the variant changes get its values under their
names in the checkpoint; all others, such as those of the vision encoder, stay byte for byte.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from mlprune.atomic import remove_left_over, replacing
from mlprune.capabilities.publishing.export import require_exportable, require_free
from mlprune.capabilities.publishing.model_card import model_card, section
from mlprune.capabilities.publishing.tensor_changes import ADDED_FILE, checked_changes, removed_experts_of
from mlprune.errors import BadInputError, PermanentError, StoreError
from mlprune.models.checkpoint.content_hashes import file_sha256
from mlprune.models.checkpoint.tensor_hashes import sha256_of_tensor
from mlprune.models.checkpoint.tensor_slices import overwrite_tensor, tensor_slices, zero_weights
from mlprune.models.import_record import COPIED_PATTERNS, ImportRecord, read_import_record
from mlprune.steps.inputs import require_base_model
from mlprune.steps.variants.variant_rows import removed_blocks, variant_record
from mlprune.store.records import Record
from mlprune.store.store import Store

COPIED = ("*.json", "*.jinja", "*.txt", "*.model", *COPIED_PATTERNS)
"""Files that are copied in addition to those that the import read. Code and weights in other formats are not."""
WEIGHTS = ".safetensors"


def export_into_multimodal(store: Store, variant_id: str, model_path: Path, checkpoint: Path, out: Path) -> None:
    """Write a multimodal checkpoint whose text part is a variant. The folder appears completely or not at all.

    Args:
        variant_id: a variant of the store.
        model_path: folder of its base model, which `mlprune import` made from the checkpoint.
        checkpoint: folder of the multimodal checkpoint.
        out: folder to make; it may exist if it is empty.
    Raises:
        StoreError: the store has no such variant, or `out` is not empty or cannot be written.
        BadInputError: the base model is not the text part of this checkpoint in its dtypes, or the variant lacks
            blocks or experts, adds biases or has an intervention at run time.
        PermanentError: the written weights differ from the variant's record or from the checkpoint.
    """
    variant = variant_record(store, variant_id)
    require_exportable(variant)
    if removed_blocks(variant):
        message = "a variant without some blocks does not fit into the multimodal checkpoint"
        raise BadInputError(message, variant_id=variant_id)
    try:
        target = out.expanduser().resolve()
        require_free(target)
        require_base_model(model_path, variant.parent("base_model"))
        if removed_experts_of(store, variant, model_path):
            message = "a variant without some experts does not fit into the checkpoint, whose router would choose them"
            raise BadInputError(message, variant_id=variant_id)
        imported = _require_source(model_path, checkpoint)
        remove_left_over(target)
        with replacing(target) as temporary:
            temporary.mkdir()
            copy_checkpoint(checkpoint, temporary, imported)
            changed = _write_changes(store, variant, model_path, imported, temporary)
            _require_tensors(checkpoint, temporary, changed)
            (temporary / "README.md").write_text(_card(store, variant, imported), encoding="utf-8")
    except OSError as err:
        raise StoreError("the export cannot be written", path=str(out), reason=err.strerror or str(err)) from err


def _require_source(model_path: Path, checkpoint: Path) -> ImportRecord:
    """Check that a model was imported from a checkpoint, and return the record of the import."""
    imported = read_import_record(model_path)
    if imported is None or imported.part_of is None or imported.weight_format != "safetensors":
        message = "the base model is not the text part of a multimodal checkpoint in safetensors files"
        raise BadInputError(message, path=str(model_path), expected="a folder that mlprune import made")
    if imported.dtype is not None:
        message = "the text part was imported in another dtype; import it without --dtype to put variants back"
        raise BadInputError(message, path=str(model_path), got=imported.dtype)
    different = [
        name
        for name, file in imported.files.items()
        if not (checkpoint / name).is_file() or file_sha256(checkpoint / name) != file.sha256
    ]
    if different:
        message = "the folder is not the checkpoint that the base model was imported from"
        raise BadInputError(message, path=str(checkpoint), expected=imported.source, different=different[:5])
    return imported


def copy_checkpoint(checkpoint: Path, target: Path, imported: ImportRecord) -> None:
    """Copy the files of a checkpoint byte for byte; links become files."""
    patterns = (name for pattern in COPIED for name in sorted(path.name for path in checkpoint.glob(pattern)))
    for name in dict.fromkeys((*imported.files, *patterns)):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, target / name)


def _write_changes(
    store: Store, variant: Record, model_path: Path, imported: ImportRecord, folder: Path
) -> dict[str, str]:
    """Write the changes of a variant into the copies; returns name in the checkpoint -> hash that it should have."""
    published = {name: stored for stored, name in imported.renamed.items()}
    file_of = {name: file for file in folder.glob(f"*{WEIGHTS}") for name in tensor_slices(file)}
    changed = {}
    for change in checked_changes(store, variant, model_path):
        if change.file == ADDED_FILE:
            message = "a variant that adds biases does not fit into the multimodal checkpoint"
            raise BadInputError(message, variant_id=variant.id)
        name = published.get(change.name, change.name)
        if change.values is not None:
            overwrite_tensor(file_of[name], name, change.values)
        elif change.removed is not None:
            zero_weights(file_of[name], name, change.removed)
        changed[name] = sha256_of_tensor(change.result)
    return changed


def _require_tensors(checkpoint: Path, folder: Path, changed: Mapping[str, str]) -> None:
    """Compare all tensors with those of the checkpoint and with the changed ones; one at a time is in memory.

    Raises:
        PermanentError: a tensor has another hash.
    """
    for file in sorted(folder.glob(f"*{WEIGHTS}")):
        with safe_open(str(file), "pt") as written, safe_open(str(checkpoint / file.name), "pt") as stored:
            for name in written.keys():  # noqa: SIM118 - not a mapping
                got = sha256_of_tensor(written.get_tensor(name))
                expected = changed[name] if name in changed else sha256_of_tensor(stored.get_tensor(name))
                if got != expected:
                    message = "the exported weights differ from the variant's or from those of the checkpoint"
                    raise PermanentError(message, tensor=name, file=file.name, expected=expected, got=got)


def _card(store: Store, variant: Record, imported: ImportRecord) -> str:
    text = (
        f"This folder is the multimodal checkpoint `{imported.source}` (`{imported.part_of}`) with this variant as its "
        "text part. Load it as that checkpoint. Its other parts are unchanged.\n"
    )
    return "\n".join((model_card(store, variant, form="zeros"), *section("Multimodal checkpoint", text)))
