"""Export a variant as a Hugging Face folder, on demand, or as a smaller one; the store contains no exports.

The base model's files are copied byte for byte. In the copies, removed weights become 0, changed weights and biases get
their new values, and quantised weights their dequantised ones. An export therefore differs from its base model only in
those and in its model card; and where the variant adds biases, in its config and in one more weight file.

A smaller folder lacks the heads and neurons whose outputs the variant removes completely; other removed weights stay
zeros. If all blocks keep equal numbers and the config has keys for them, the folder is a
plain Hugging Face folder. Otherwise it gets `load_smaller.py`, which loads it with torch and transformers. Whole blocks
that a variant lacks, and experts of which it keeps no weight, are left out of every export, which stays a plain folder:
a router would still choose an expert whose weights are zeros. A folder with other shapes than the base model is opened
again, without weights, before it is finished.
"""

import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mlprune.atomic import remove_left_over, replacing
from mlprune.capabilities.publishing.added_biases import (
    added_layers,
    index_added_file,
    require_config,
    write_zero_biases,
)
from mlprune.capabilities.publishing.fewer_experts import RemovedExperts, cut_experts
from mlprune.capabilities.publishing.model_card import Form, model_card, section
from mlprune.capabilities.publishing.packed_folder import (
    PackedModel,
    StoredCodes,
    no_plain_folder,
    pack_folder,
    packed_text,
    require_packable,
)
from mlprune.capabilities.publishing.smaller import (
    UnequalWidths,
    loader_changes,
    narrow_config,
    narrow_files,
    passed_blocks,
    unit_counts,
    units_of_blocks,
    units_text,
)
from mlprune.capabilities.publishing.tensor_changes import (
    checked_changes,
    removed_experts_of,
    removed_weights,
    require_hashes,
)
from mlprune.errors import BadInputError, ModelError, StoreError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models import load_smaller
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.units import KEPT_FILE, LOADER_FILE
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES
from mlprune.models.checkpoint.rewritten_files import write_json
from mlprune.models.checkpoint.tensor_hashes import sha256_of_tensor, tensor_hashes, write_hashes
from mlprune.models.checkpoint.tensor_slices import overwrite_tensor, zero_weights
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at, read_json_object
from mlprune.models.fewer_blocks import remove_blocks
from mlprune.models.loading import checked_tensors, load_tokenizer
from mlprune.models.meta_model import build_skeleton
from mlprune.steps.inputs import require_base_model
from mlprune.steps.variants.variant_rows import (
    has_fewer_tokens,
    n_tokens_of_base,
    removed_blocks,
    require_weights,
    stored_masks,
    stored_tokens,
    variant_record,
    with_all_tokens,
)
from mlprune.steps.variants.variant_text import block_ranges
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.trimming.folder import read_tokenizer, trim_folder, write_tokenizer

LOADER = "load_smaller.py"
"""Loader in a folder that no config can express; `LOADER_FILE` has what it sets."""
COPIED_FILES = ("config.json", "generation_config.json", "chat_template.jinja", *TOKENIZER_FILES)
"""Files of the base model that are copied, if they exist, in addition to weights and licences."""


@dataclass(frozen=True)
class KeptTokens:
    """The vocabulary of a variant with fewer tokens than its base model."""

    ids: Sequence[int]
    """Ids of the kept tokens in the base model, in the order of their new ids."""
    multiple: int = 1
    """The number of rows is padded to a multiple of it."""


@dataclass(frozen=True)
class _Form:
    """What of a variant a folder contains, and how."""

    smaller: bool
    """Whether heads and neurons that are removed as a whole are cut out."""
    vocabulary_multiple: int
    """The rows of a smaller vocabulary are padded to a multiple of it."""
    codes: StoredCodes | None = None
    """Those of the weights, if they are packed."""

    def removed(self, store: Store, variant: Record) -> Iterable[tuple[tuple[int, str], Tensor]]:
        """Return the removed weights from which removed heads and neurons follow; see `make_smaller`."""
        if not self.smaller:
            return ()
        return removed_weights(store, variant) if self.codes is None else self.codes.removed()


@dataclass(frozen=True)
class SmallerModel:
    """Sizes of a smaller model, and how it is loaded."""

    units: tuple[tuple[str, int, int], ...]
    """(`heads`, `neurons` or `experts`, number in all blocks, number that remains)."""
    needs_loader: str | None
    """Why the folder needs its own loader; None for a plain Hugging Face folder."""


def make_smaller(
    folder: Path,
    architecture: Architecture,
    removed: Iterable[tuple[tuple[int, str], Tensor]],
    *,
    experts: RemovedExperts | None = None,
) -> SmallerModel:
    """Cut removed heads, neurons and experts out of a folder in which removed weights are zero.

    Args:
        folder: an exported folder, changed in place.
        removed: (block, layer) and bool [out, in] (or [1, in] for all rows), True for removed weights; none leaves all
            heads and neurons.
        experts: block -> its removed experts.
    Raises:
        BadInputError: no head, neuron or expert is removed as a whole, or no plain folder can have as many experts as
            remain.
        ModelError: too few experts remain for the choice of a router.
    """
    n_experts = cut_experts(folder, experts) if experts else None
    config = read_json_object(folder / "config.json")
    masks: dict[int, dict[str, Tensor]] = {}
    for (block, layer), weights in removed:
        if layer in architecture.block(block).after_units:
            masks.setdefault(block, {})[layer] = ~weights
    architecture = architecture_at(folder) if experts else architecture
    files = WeightFiles(folder, architecture)
    blocks = units_of_blocks(files, config, masks)
    counts = tuple(unit_counts(blocks))
    has_fewer_units = any(n_kept < n_units for _, n_units, n_kept in counts)
    if n_experts:
        counts = (*(counts if has_fewer_units else ()), ("experts", *n_experts))
    elif not has_fewer_units:
        message = "no head or neuron is removed as a whole: export without --smaller"
        raise BadInputError(message, expected="all columns of a head or neuron removed")
    narrow = narrow_config(architecture, config, blocks)
    narrowed = narrow_files(folder, architecture, blocks)
    if has_fewer_units:
        kept: list[JsonValue] = [{unit.layout.kind: list(unit.indices) for unit in of_block} for of_block in blocks]
        write_json(folder / KEPT_FILE, {"blocks": kept})
    if not isinstance(narrow, UnequalWidths):
        original = (folder / "config.json").read_bytes()
        write_json(folder / "config.json", narrow)
        if _has_shapes_of_config(folder, architecture):
            return SmallerModel(counts, None)
        (folder / "config.json").write_bytes(original)
        narrow = UnequalWidths(f"the code of a {architecture.name} derives widths from other keys")
    shutil.copyfile(str(load_smaller.__file__), folder / LOADER)
    changes: JsonObject = {**loader_changes(architecture, config, blocks), "narrowed": dict(narrowed)}
    write_json(folder / LOADER_FILE, changes)
    return SmallerModel(counts, narrow.reason)


def _has_shapes_of_config(folder: Path, architecture: Architecture) -> bool:
    """Whether the stored tensors have the shapes of the model that the config describes."""
    try:
        parameters = dict(build_skeleton(folder, torch.float32).named_parameters())
    except ModelError:
        return False
    files = WeightFiles(folder, architecture)
    return all(files.shape(name) == tuple(parameter.shape) for name, parameter in parameters.items() if files.has(name))


def smaller_text(model: SmallerModel) -> str:
    """Return the section of a model card about a smaller model."""
    sizes = units_text(model.units)
    kinds = {kind for kind, _, _ in model.units}
    names = "experts" if kinds == {"experts"} else "heads and neurons"
    names = "heads, neurons and experts" if kinds > {"experts"} else names
    text = f"Removed {names} are cut out of the weights; {sizes} remain. Other removed weights are zeros.\n"
    if model.needs_loader is None:
        return text
    return (
        f"{text}\nThe config cannot express these widths ({model.needs_loader}), so the folder has its own loader:\n\n"
        f'```python\nfrom load_smaller import load\n\nmodel = load(".")\n```\n'
    )


def export_variant(
    store: Store,
    variant_id: str,
    model_path: Path,
    out: Path,
    *,
    smaller: bool = False,
    vocabulary_multiple: int = 1,
) -> None:
    """Write a variant as a folder that `AutoModelForCausalLM.from_pretrained` loads.

    The folder appears completely or not at all.

    Args:
        variant_id: a variant of the store; the dense one is allowed.
        model_path: folder of its base model.
        out: folder to make; it may exist if it is empty.
        smaller: whether to cut out the heads and neurons that are removed as a whole; see `make_smaller`; if the
            variant lacks all sub-layers of a block, such blocks instead. Whole blocks that the variant lacks, and
            experts of which it keeps no weight, are always left out.
        vocabulary_multiple: the rows of a smaller vocabulary are padded to a multiple of it.
    Raises:
        StoreError: the store has no such variant, or `out` is not empty or cannot be written.
        BadInputError: the folder contains another model, the variant has an intervention at run time, no config of the
            architecture can declare the biases that it adds, nothing can be cut out, blocks keep unequal numbers of
            experts, or the smaller folder cannot be opened again.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: a changed weight is too large for the dtype of the base model's files.
        PermanentError: the written weights differ from the variant's record.
    """
    _export(store, variant_id, model_path, out, _Form(smaller, vocabulary_multiple))


def export_packed(
    store: Store,
    variant_id: str,
    model_path: Path,
    out: Path,
    *,
    smaller: bool = False,
    vocabulary_multiple: int = 1,
) -> PackedModel:
    """Write a variant with codes as `export_variant` does, with packed codes instead of weights; see `packed_folder`.

    Args:
        smaller: whether to cut out the heads and neurons whose inputs have no codes; a variant that has some needs it.
    Raises:
        BadInputError: the variant has no codes, or they cannot be packed.
        DamagedArtefactError, ModelError, PermanentError, StoreError: as `export_variant`.
    """
    codes = StoredCodes(store, with_all_tokens(store, variant_record(store, variant_id)))
    packed = _export(store, variant_id, model_path, out, _Form(smaller, vocabulary_multiple, codes))
    assert packed is not None, "the weights are packed"
    return packed


def _export(store: Store, variant_id: str, model_path: Path, out: Path, form: _Form) -> PackedModel | None:
    variant = variant_record(store, variant_id)
    has_vocabulary = has_fewer_tokens(variant)
    if not has_vocabulary:
        require_exportable(variant)
    if form.vocabulary_multiple != 1 and not (has_vocabulary and form.vocabulary_multiple > 1):
        message = "a multiple of the vocabulary is at least 1, and belongs to a variant with a smaller vocabulary"
        raise BadInputError(message, variant_id=variant.id, got=form.vocabulary_multiple)
    try:
        target = out.expanduser().resolve()
        require_free(target)
        require_base_model(model_path, variant.parent("base_model"))
        if form.codes is not None:
            require_packable(model_path, form.codes, smaller=form.smaller)
        tokens = KeptTokens(stored_tokens(store, variant), form.vocabulary_multiple) if has_vocabulary else None
        return _write_folder(store, variant, model_path, target, form=form, tokens=tokens)
    except OSError as err:
        raise StoreError("the export cannot be written", path=str(out), reason=err.strerror or str(err)) from err


def require_exportable(variant: Record) -> None:
    """Refuse a variant with an intervention at run time, which weights cannot express."""
    require_weights(variant, "a variant with an intervention at run time cannot be exported in this form")


def require_free(target: Path) -> None:
    """Refuse a target that exists, unless it is an empty folder."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        got = "other files in it" if target.is_dir() else "a file"
        raise StoreError("an export needs a folder of its own", path=str(target), expected="an empty folder", got=got)


def _write_folder(
    store: Store,
    named: Record,
    model_path: Path,
    target: Path,
    *,
    form: _Form,
    tokens: KeptTokens | None,
) -> PackedModel | None:
    """Write the export to a temporary folder next to the target, check it, make it smaller, and move it.

    Args:
        named: the variant of the export; its weights can be those of its parent with all tokens.
        tokens: its tokens; None for all of them.
    """
    variant = with_all_tokens(store, named)
    experts, removed = removed_experts_of(store, variant, model_path), removed_blocks(variant)
    passed = passed_blocks(variant, architecture_at(model_path)) if form.smaller else ()
    is_smaller = form.smaller or removed or experts or tokens is not None
    shape: Form = "smaller" if is_smaller else "zeros"
    if form.codes is not None:
        shape = "smaller_packed" if form.smaller else "packed"
    card = model_card(store, named, form=shape)
    remove_left_over(target)
    added = require_config(variant, model_path, added_layers(store, variant, model_path))
    with replacing(target) as temporary:
        temporary.mkdir()
        copy_files(model_path, temporary)
        zeros = write_zero_biases(temporary, added) if added else {}
        has_changes = not removed or stored_masks(store, variant) is not None
        changed = _write_changes(store, variant, temporary, model_path=model_path) if has_changes else {}
        if added:
            index_added_file(temporary, zeros)
        hashes = require_hashes(temporary, model_path, {**zeros, **changed})
        if gone := removed or passed:
            architecture = architecture_at(temporary)
            remove_blocks(temporary, architecture, gone)
            hashes = tensor_hashes(temporary)
            text = _text_without_blocks(gone, n_blocks=architecture.n_blocks)
            text += "The other removed sub-layers are zeros.\n" if passed else ""
            card = "\n".join((card, *section("Smaller model", text)))
        elif form.smaller or experts:
            weights = form.removed(store, variant)
            model = make_smaller(temporary, architecture_at(temporary), weights, experts=experts)
            if form.codes is not None and model.needs_loader is not None:
                raise no_plain_folder(model.needs_loader)
            hashes = tensor_hashes(temporary)
            card = "\n".join((card, *section("Smaller model", smaller_text(model))))
        if tokens is not None:
            text = _cut_tokens(temporary, model_path, tokens, n_before=n_tokens_of_base(named))
            hashes = tensor_hashes(temporary)
            card = "\n".join((card, *section("Smaller vocabulary", text)))
        if is_smaller or added:
            _require_loadable(temporary, variant_id=named.id)
        packed_model = None if form.codes is None else pack_folder(temporary, form.codes, base=model_path)
        if packed_model is not None:
            hashes = dict(packed_model.hashes)
            card = "\n".join((card, *section("Packed weights", packed_text(packed_model))))
        write_hashes(temporary, hashes)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        return packed_model


def _text_without_blocks(removed: Collection[int], *, n_blocks: int) -> str:
    """Return the section of a model card about removed blocks."""
    names = ", ".join(block_ranges(sorted(removed)))
    n_kept = n_blocks - len(removed)
    return f"{n_kept} of {n_blocks} blocks remain. Removed, by their numbers from 0 in the base model: {names}.\n"


def _require_loadable(folder: Path, *, variant_id: str) -> None:
    """Open a folder again without weights, and compare names and shapes of all tensors with the model of its config.

    Raises:
        BadInputError: the config describes another model than the weights, or none.
    """
    try:
        model = build_skeleton(folder, torch.float32)
        if (folder / LOADER_FILE).exists():
            load_smaller.narrow(model, folder)
        checked_tensors(folder, model, WeightFiles(folder, architecture_at(folder)))
    except ModelError as err:
        context = {key: value for key, value in err.context.items() if key not in ("path", "next")}
        message = f"the smaller folder could not be opened again: {err.message}"
        next_step = "evaluate the variant in place, or load it in memory with store.load"
        raise BadInputError(message, {"variant_id": variant_id, **context}, next=next_step) from err


def _cut_tokens(folder: Path, model_path: Path, tokens: KeptTokens, *, n_before: int) -> str:
    """Keep the rows and the tokenizer of some tokens in a folder; returns the section of a model card about it."""
    source = read_tokenizer(load_tokenizer(model_path))
    ids = tokens.ids
    n_rows = trim_folder(folder, ids, multiple=tokens.multiple)
    write_tokenizer(model_path, folder, ids, source=source, new_ids={old: new for new, old in enumerate(ids)})
    padding = f" `vocab_size` is {n_rows}: rows after the kept tokens are padding." if n_rows > len(ids) else ""
    return (
        f"{len(ids)} of {n_before} tokens remain, with new ids. Their logits are those of all tokens; probabilities "
        f"are renormalised over them.{padding}\n"
    )


def copy_files(model_path: Path, target: Path) -> None:
    """Copy the files of the base model byte for byte; links become files."""
    weights = WeightFiles(model_path, architecture_at(model_path)).file_names
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
