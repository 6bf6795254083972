"""Export a variant as a Hugging Face folder, on demand; the store does not contain exports.

The base model's files are copied byte for byte. In the copies, removed weights become 0, changed weights and biases get
their new values, and quantised weights their dequantised ones. An export therefore differs from its base model only in
those and in its model card; and where the variant adds biases, in its config and in one more weight file.
"""

import shutil
from pathlib import Path

from mlprune.atomic import remove_left_over, replacing
from mlprune.errors import BadInputError, StoreError, unknown
from mlprune.json_values import JsonObject
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES
from mlprune.models.checkpoint.edit import overwrite_tensor, zero_weights
from mlprune.models.checkpoint.tensor_hashes import sha256_of_tensor, tensor_hashes, write_hashes
from mlprune.models.checkpoint.weight_files import WeightFiles, family_at
from mlprune.steps.base_model import require_base_model
from mlprune.steps.export.added_biases import added_layers, index_added_file, require_config, write_zero_biases
from mlprune.steps.export.markdown import section
from mlprune.steps.export.model_card import model_card
from mlprune.steps.export.smaller import make_smaller, smaller_text
from mlprune.steps.export.tensor_changes import removed_weights
from mlprune.steps.export.verification import checked_changes, require_hashes
from mlprune.store.records import Record
from mlprune.store.store import Store

COPIED_FILES = ("config.json", "generation_config.json", "chat_template.jinja", *TOKENIZER_FILES)
"""Files of the base model that are copied, if they exist, in addition to weights and licences."""


def export_variant(store: Store, variant_id: str, model_path: Path, out: Path, *, smaller: bool = False) -> None:
    """Write a variant as a folder that `AutoModelForCausalLM.from_pretrained` loads.

    The folder appears completely or not at all.

    Args:
        variant_id: a variant of the store; the dense one is allowed.
        model_path: folder of its base model.
        out: folder to make; it may exist if it is empty.
        smaller: whether to cut out the heads and neurons that are removed as a whole; see `make_smaller`.
    Raises:
        StoreError: the store has no such variant, or `out` is not empty or cannot be written.
        BadInputError: the folder contains another model, the variant has an intervention at run time, no config of the
            family can declare the biases that it adds, or nothing can be cut out.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: a changed weight is too large for the dtype of the base model's files.
        PermanentError: the written weights differ from the variant's record.
    """
    variant = variant_record(store, variant_id)
    require_exportable(variant)
    card = model_card(store, variant, form="smaller" if smaller else "zeros")
    try:
        target = out.expanduser().resolve()
        require_free(target)
        require_base_model(model_path, variant.parent("base_model"))
        _write_folder(store, variant, model_path, target, card=card, smaller=smaller)
    except OSError as err:
        raise StoreError("the export cannot be written", path=str(out), reason=err.strerror or str(err)) from err


def variant_record(store: Store, variant_id: str) -> Record:
    """The record of a variant.

    Raises:
        StoreError: there is no such variant; the message has the nearest ids.
    """
    known = [record_id for _, record_id in store.record_names("variants")]
    if variant_id in known:
        return store.require("variants", variant_id)
    raise unknown("variant", variant_id, known, error=StoreError, n_nearest=3, store=store.uri)


def _row(variant: Record) -> JsonObject:
    return variant.rows["variants"][0]


def require_exportable(variant: Record) -> None:
    """Refuse a variant with an intervention at run time, which weights cannot express."""
    intervention = _row(variant)["intervention"]
    if intervention:
        message = "a variant with an intervention at run time cannot be exported"
        raise BadInputError(message, variant_id=variant.id, got=intervention)


def require_free(target: Path) -> None:
    """Refuse a target that exists, unless it is an empty folder."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        got = "other files in it" if target.is_dir() else "a file"
        raise StoreError("an export needs a folder of its own", path=str(target), expected="an empty folder", got=got)


def _write_folder(store: Store, variant: Record, model_path: Path, target: Path, *, card: str, smaller: bool) -> None:
    """Write the export to a temporary folder next to the target, check it, make it smaller, and move it."""
    remove_left_over(target)
    added = require_config(variant, model_path, added_layers(store, variant, model_path))
    with replacing(target) as temporary:
        temporary.mkdir()
        copy_files(model_path, temporary)
        zeros = write_zero_biases(temporary, added) if added else {}
        changed = _write_changes(store, variant, temporary, model_path=model_path)
        if added:
            index_added_file(temporary, zeros)
        hashes = require_hashes(temporary, model_path, {**zeros, **changed})
        if smaller:
            model = make_smaller(temporary, family_at(temporary), removed_weights(store, variant))
            hashes = tensor_hashes(temporary)
            card = "\n".join((card, *section("Smaller model", smaller_text(model))))
        write_hashes(temporary, hashes)
        (temporary / "README.md").write_text(card, encoding="utf-8")


def copy_files(model_path: Path, target: Path) -> None:
    """Copy the files of the base model byte for byte; links become files."""
    weights = WeightFiles(model_path, family_at(model_path)).file_names
    licences = [path.name for path in sorted(model_path.glob("LICENSE*")) if path.is_file()]
    for name in dict.fromkeys((*COPIED_FILES, *licences, *weights)):
        if (model_path / name).exists():
            shutil.copyfile(model_path / name, target / name)


def _write_changes(store: Store, variant: Record, folder: Path, *, model_path: Path) -> dict[str, str]:
    """Write the changes of a variant into copies of the weight files.

    Returns: name of each changed tensor -> hash that it should have.
    Raises:
        PermanentError: the masks or new weights differ from the record.
    """
    expected = {}
    for change in checked_changes(store, variant, model_path):
        file = folder / change.file
        if change.values is not None:
            overwrite_tensor(file, change.name, change.values)
        elif change.removed is not None:
            zero_weights(file, change.name, change.removed)
        expected[change.name] = sha256_of_tensor(change.result)
    return expected
