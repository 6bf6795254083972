"""Export a variant as a Hugging Face folder, on demand; the store does not contain exports.

The base model's files are copied byte for byte. In the copies, removed weights become 0, changed weights and biases get
their new values, and quantised weights their dequantised ones. An export therefore differs from its base model only in
those and in its model card.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from mlprune.atomic import remove_left_over, replacing
from mlprune.errors import BadInputError, PermanentError, StoreError, unknown
from mlprune.json_values import JsonObject
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES
from mlprune.models.checkpoint.edit import count_zeroed, has_values, overwrite_tensor, zero_weights
from mlprune.models.checkpoint.weight_files import WeightFiles, family_at, weight_name
from mlprune.models.families.checks import oriented
from mlprune.models.families.records import Family
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.pruning.weight_files import read_block_weights
from mlprune.steps.base_model import require_base_model
from mlprune.steps.export.markdown import section
from mlprune.steps.export.model_card import model_card
from mlprune.steps.export.new_biases import write_biases
from mlprune.steps.export.smaller import make_smaller, smaller_text
from mlprune.steps.prune.stored_masks import stored_masks
from mlprune.steps.quantise.rows import quantisation_in
from mlprune.steps.quantise.weights import quantised_weights
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

COPIED_FILES = ("config.json", "generation_config.json", "chat_template.jinja", *TOKENIZER_FILES)
"""Files of the base model that are copied, if they exist, in addition to weights and licences."""

LayerKey = tuple[int, str]
"""(block, layer)."""


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
        BadInputError: the folder contains another model, the variant has an intervention at run time, or nothing can
            be cut out.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: a changed weight is too large for the dtype of the base model's files.
        PermanentError: the written weights differ from the variant's record.
    """
    variant = variant_record(store, variant_id)
    _check_exportable(variant)
    card = model_card(store, variant, smaller=smaller)
    try:
        target = out.expanduser().resolve()
        _check_free(target)
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


def _check_exportable(variant: Record) -> None:
    """Refuse a variant with an intervention at run time, which weights cannot express."""
    intervention = _row(variant)["intervention"]
    if intervention:
        message = "a variant with an intervention at run time cannot be exported"
        raise BadInputError(message, variant_id=variant.id, got=intervention)


def _check_free(target: Path) -> None:
    """Refuse a target that exists, unless it is an empty folder."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        got = "other files in it" if target.is_dir() else "a file"
        raise StoreError("an export needs a folder of its own", path=str(target), expected="an empty folder", got=got)


def _write_folder(store: Store, variant: Record, model_path: Path, target: Path, *, card: str, smaller: bool) -> None:
    """Write the export to a temporary folder next to the target, check it, make it smaller, and move it."""
    remove_left_over(target)
    with replacing(target) as temporary:
        temporary.mkdir()
        _copy_files(model_path, temporary)
        rewritten = _write_changed(store, variant, temporary, model_path=model_path)
        _zero_removed(store, variant, temporary, rewritten=rewritten)
        _check_zeros(store, variant, temporary)
        _check_changed(store, variant, temporary, model_path=model_path)
        write_biases(store, stored_masks(store, variant), temporary)
        if smaller:
            model = make_smaller(temporary, family_at(temporary), _removed(store, variant))
            card = "\n".join((card, *section("Smaller model", smaller_text(model))))
        (temporary / "README.md").write_text(card, encoding="utf-8")


def _copy_files(model_path: Path, target: Path) -> None:
    """Copy the files of the base model byte for byte; links become files."""
    weights = WeightFiles(model_path, family_at(model_path)).file_names
    licences = [path.name for path in sorted(model_path.glob("LICENSE*")) if path.is_file()]
    for name in dict.fromkeys((*COPIED_FILES, *licences, *weights)):
        if (model_path / name).exists():
            shutil.copyfile(model_path / name, target / name)


def _removed(store: Store, variant: Record) -> Iterator[tuple[LayerKey, Tensor]]:
    """(block, layer) and its removed weights: bool [out, in], True where a weight becomes 0."""
    stored = stored_masks(store, variant)
    for artefact, levels in stored.files if stored else ():
        for layer, kept in read_keep_masks(store.uri, artefact, levels).items():
            yield (_block_of(artefact), layer), ~kept


def _changed(store: Store, variant: Record, model_path: Path) -> Iterator[tuple[LayerKey, Tensor]]:
    """(block, layer) and its new weight: [out, in], removed entries 0; only layers with changed weights."""
    if quantisation_in(variant) is not None:
        yield from quantised_weights(store, variant, model_path)
        return
    stored = stored_masks(store, variant)
    for artefact in stored.weights if stored else ():
        for layer, weight in read_block_weights(store, artefact).items():
            yield (_block_of(artefact), layer), weight


def _block_of(artefact: Artefact) -> int:
    """The block of a file of masks or weights, from its name."""
    match = re.search(r"/block-(\d+)\.", artefact.path)
    assert match is not None, "steps name their files by block"
    return int(match[1])


def _stored(folder: Path, files: WeightFiles, family: Family, key: LayerKey) -> tuple[Path, str]:
    """The file with a layer's weight, and the weight's name in it."""
    file_name, stored_name = files.locate(weight_name(family, *key))
    return folder / file_name, stored_name


def _write_changed(store: Store, variant: Record, folder: Path, *, model_path: Path) -> set[LayerKey]:
    """Overwrite the copied weights with the new ones; return the layers with new weights.

    Raises:
        PermanentError: the record says that weights have changed, but a pruned layer has no new weights.
    """
    family = family_at(folder)
    files = WeightFiles(folder, family)
    rewritten = set()
    for key, weight in _changed(store, variant, model_path):
        overwrite_tensor(*_stored(folder, files, family, key), oriented(weight, family))
        rewritten.add(key)
    pruned = {(row["block"], row["layer"]) for row in variant.rows.get("variant_layers", []) if row["n_removed"]}
    if _row(variant)["weights_changed"] and pruned - rewritten:
        message = "weights have changed according to the record, but pruned layers have no new weights"
        raise PermanentError(message, variant_id=variant.id, got=sorted(pruned - rewritten)[:3])
    return rewritten


def _zero_removed(store: Store, variant: Record, folder: Path, *, rewritten: set[LayerKey]) -> None:
    """Set removed weights to 0, except in rewritten layers, whose new weights contain the zeros."""
    family = family_at(folder)
    files = WeightFiles(folder, family)
    for key, removed in _removed(store, variant):
        if key not in rewritten:
            zero_weights(*_stored(folder, files, family, key), oriented(removed, family))


def _check_zeros(store: Store, variant: Record, folder: Path) -> None:
    """Compare the zeros of the written files with the record, layer by layer."""
    family = family_at(folder)
    files = WeightFiles(folder, family)
    left = {(row["block"], row["layer"]): row["n_removed"] for row in variant.rows.get("variant_layers", [])}
    for key, removed in _removed(store, variant):
        n_zeroed = count_zeroed(*_stored(folder, files, family, key), oriented(removed, family))
        n_removed, expected = int(removed.sum()), left.pop(key, None)
        if not n_zeroed == n_removed == expected:
            message = "the exported weights differ from the variant's record"
            got = {"removed": n_removed, "zeroed": n_zeroed}
            raise PermanentError(message, block=key[0], layer=key[1], expected=expected, got=got)
    if left:
        raise PermanentError("the variant's masks lack layers that its record has", got=sorted(left))


def _check_changed(store: Store, variant: Record, folder: Path, *, model_path: Path) -> None:
    """Compare the written files with the new weights."""
    family = family_at(folder)
    files = WeightFiles(folder, family)
    for key, weight in _changed(store, variant, model_path):
        if not has_values(*_stored(folder, files, family, key), oriented(weight, family)):
            message = "the exported weights differ from the variant's new weights"
            raise PermanentError(message, variant_id=variant.id, block=key[0], layer=key[1])
