"""Step `export`: a variant as a Hugging Face folder, made on demand and never kept in the store.

The base model's files are copied byte for byte, and in the copies removed weights become 0 and changed ones get their
new values, so an export differs from its base in those weights and its model card, and in nothing else. The card's text
is `model_card.py`'s.
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
from mlprune.steps.export.model_card import model_card
from mlprune.steps.prune.stored_masks import stored_masks
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

COPIED_FILES = ("config.json", "generation_config.json", "chat_template.jinja", *TOKENIZER_FILES)
"""What is copied besides weights and licences, where the base model has it."""

LayerKey = tuple[int, str]
"""(block, layer)."""


def export_variant(store: Store, variant_id: str, model_path: Path, out: Path) -> None:
    """Write a variant as a folder that `AutoModelForCausalLM.from_pretrained` loads.

    The folder appears whole or not at all.

    Args:
        variant_id: a variant of the store, the dense one included.
        model_path: folder of its base model.
        out: folder to make; an empty one may be there already.
    Raises:
        StoreError: the store has no such variant, or `out` is not empty or cannot be written.
        BadInputError: the folder holds another model, or the variant does something at run time.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: a changed weight is too large for the dtype of the base model's files.
        PermanentError: what was written is not what the variant's record says.
    """
    variant = variant_record(store, variant_id)
    _check_exportable(variant)
    card = model_card(store, variant)
    try:
        target = out.expanduser().resolve()
        _check_free(target)
        require_base_model(model_path, variant.parent("base_model"))
        _write_folder(store, variant, model_path, target, card=card)
    except OSError as err:
        raise StoreError("the export cannot be written", path=str(out), reason=err.strerror or str(err)) from err


def variant_record(store: Store, variant_id: str) -> Record:
    """The record of a variant.

    Raises:
        StoreError: there is none; the message names those that begin alike or are nearest.
    """
    known = [record_id for _, record_id in store.record_names("variants")]
    if variant_id in known:
        return store.require("variants", variant_id)
    raise unknown("variant", variant_id, known, error=StoreError, n_nearest=3, store=store.uri)


def _row(variant: Record) -> JsonObject:
    return variant.rows["variants"][0]


def _check_exportable(variant: Record) -> None:
    """An export holds weights; what happens at run time is not in it."""
    intervention = _row(variant)["intervention"]
    if intervention:
        message = "the variant is more than weights: what it does at run time is not exported"
        raise BadInputError(message, variant_id=variant.id, got=intervention)


def _check_free(target: Path) -> None:
    """`target` is not there yet, or is an empty folder."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        got = "other files in it" if target.is_dir() else "a file"
        raise StoreError("an export needs a folder of its own", path=str(target), expected="an empty folder", got=got)


def _write_folder(store: Store, variant: Record, model_path: Path, target: Path, *, card: str) -> None:
    """Write the whole export beside its place, check it, and move it there."""
    remove_left_over(target)
    with replacing(target) as temporary:
        temporary.mkdir()
        _copy_files(model_path, temporary)
        rewritten = _write_changed(store, variant, temporary)
        _zero_removed(store, variant, temporary, rewritten=rewritten)
        _check_zeros(store, variant, temporary)
        _check_changed(store, variant, temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")


def _copy_files(model_path: Path, target: Path) -> None:
    """All files of the base model that an export has, byte for byte; links become files."""
    weights = WeightFiles(model_path, family_at(model_path)).file_names
    licences = [path.name for path in sorted(model_path.glob("LICENSE*")) if path.is_file()]
    for name in dict.fromkeys((*COPIED_FILES, *licences, *weights)):
        if (model_path / name).exists():
            shutil.copyfile(model_path / name, target / name)


def _removed(store: Store, variant: Record) -> Iterator[tuple[LayerKey, Tensor]]:
    """(block, layer) and what the variant removes there: bool [out, in], True where the weight becomes 0."""
    stored = stored_masks(store, variant)
    for artefact in stored.masks if stored else ():
        for layer, kept in read_keep_masks(store.uri, artefact, stored.level if stored else 0).items():
            yield (_block_of(artefact), layer), ~kept


def _changed(store: Store, variant: Record) -> Iterator[tuple[LayerKey, Tensor]]:
    """(block, layer) and the whole new weight there: [out, in], removed entries 0; nothing where no weight changed."""
    stored = stored_masks(store, variant)
    for artefact in stored.weights if stored else ():
        for layer, weight in read_block_weights(store, artefact).items():
            yield (_block_of(artefact), layer), weight


def _block_of(artefact: Artefact) -> int:
    """The block a file of masks or weights belongs to, by its name."""
    found = re.search(r"/block-(\d+)\.", artefact.path)
    assert found is not None, "steps name their files by block"
    return int(found[1])


def _stored(folder: Path, files: WeightFiles, family: Family, key: LayerKey) -> tuple[Path, str]:
    """The file in which a layer's weight lies, and its name there."""
    file_name, stored_name = files.locate(weight_name(family, *key))
    return folder / file_name, stored_name


def _write_changed(store: Store, variant: Record, folder: Path) -> set[LayerKey]:
    """Write the new weights over the copied ones; returns the layers that have such.

    Raises:
        PermanentError: the record says that weights have changed, and a pruned layer has no new ones.
    """
    family = family_at(folder)
    files = WeightFiles(folder, family)
    rewritten = set()
    for key, weight in _changed(store, variant):
        overwrite_tensor(*_stored(folder, files, family, key), oriented(weight, family))
        rewritten.add(key)
    pruned = {(row["block"], row["layer"]) for row in variant.rows.get("variant_layers", []) if row["n_removed"]}
    if _row(variant)["weights_changed"] and pruned - rewritten:
        message = "the variant's record says that weights have changed, and pruned layers have no new ones"
        raise PermanentError(message, variant_id=variant.id, got=sorted(pruned - rewritten)[:3])
    return rewritten


def _zero_removed(store: Store, variant: Record, folder: Path, *, rewritten: set[LayerKey]) -> None:
    """Zeros in all layers but the rewritten ones: their new weights hold them already, which is checked."""
    family = family_at(folder)
    files = WeightFiles(folder, family)
    for key, removed in _removed(store, variant):
        if key not in rewritten:
            zero_weights(*_stored(folder, files, family, key), oriented(removed, family))


def _check_zeros(store: Store, variant: Record, folder: Path) -> None:
    """Hold the written files against the record, layer by layer."""
    family = family_at(folder)
    files = WeightFiles(folder, family)
    left = {(row["block"], row["layer"]): row["n_removed"] for row in variant.rows.get("variant_layers", [])}
    for key, removed in _removed(store, variant):
        n_zeroed = count_zeroed(*_stored(folder, files, family, key), oriented(removed, family))
        n_removed, expected = int(removed.sum()), left.pop(key, None)
        if not n_zeroed == n_removed == expected:
            message = "the exported weights are not what the variant's record says"
            got = {"removed": n_removed, "zeroed": n_zeroed}
            raise PermanentError(message, block=key[0], layer=key[1], expected=expected, got=got)
    if left:
        raise PermanentError("the variant's masks lack layers that its record has", got=sorted(left))


def _check_changed(store: Store, variant: Record, folder: Path) -> None:
    """Hold the written files against the stored new weights."""
    family = family_at(folder)
    files = WeightFiles(folder, family)
    for key, weight in _changed(store, variant):
        if not has_values(*_stored(folder, files, family, key), oriented(weight, family)):
            message = "the exported weights are not the variant's new ones"
            raise PermanentError(message, variant_id=variant.id, block=key[0], layer=key[1])
