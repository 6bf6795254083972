"""Publish variants: folders with masks and new values, without the weights of the base model.

A folder also states the base model with the hash of every tensor, metrics, recipe and environment, and has the loader
`apply_published.py`, which needs torch and safetensors only. Uploading is left to the tools of a hub.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.atomic import remove_left_over, replacing
from mlprune.errors import BadInputError, StoreError
from mlprune.json_values import JsonObject, json_text
from mlprune.models.checkpoint.weight_files import WeightFiles, family_at
from mlprune.steps.export.added_biases import added_layers, refuse_added_biases
from mlprune.steps.export.export import require_exportable, require_free, variant_record
from mlprune.steps.export.markdown import section, table
from mlprune.steps.publish.publication import Publication
from mlprune.steps.publish.variant_folder import write_variant_folder
from mlprune.store.records import Record
from mlprune.store.store import Store

INDEX = "index.json"
FORMAT = "mlprune-published-index/1"


@dataclass(frozen=True)
class PublishedFolder:
    """The folder of a published variant."""

    variant_id: str
    label: str
    name: str
    """Its name in the folder of all; `.` for a single variant."""
    n_bytes: int
    """Size of all its files."""
    n_base_bytes: int
    """Size of the base model's weight files."""


def publish_variants(
    store: Store, publications: Sequence[Publication], models: Mapping[str, Path], out: Path
) -> list[PublishedFolder]:
    """Publish one variant as a folder, or several as folders in one, with an index. All appear, or nothing does.

    Args:
        publications: at least one, of different variants.
        models: base model id -> folder.
        out: folder to make; it may exist if it is empty.
    Raises:
        StoreError: the store has no such variant, or `out` is not empty or cannot be written.
        BadInputError: a folder contains another model, a variant has an intervention at run time, it adds biases, or it
            is the dense model.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: a changed weight is too large for the dtype of the base model's files.
        PermanentError: the masks or new weights differ from the variant's record.
    """
    variants = [variant_record(store, one.variant_id) for one in publications]
    for variant in variants:
        require_exportable(variant)
        _require_changes(variant)
    is_single = len(variants) == 1
    try:
        target = out.expanduser().resolve()
        require_free(target)
        remove_left_over(target)
        with replacing(target) as temporary:
            temporary.mkdir()
            folders = []
            for variant, publication in zip(variants, publications, strict=True):
                folder = temporary if is_single else temporary / variant.id
                folder.mkdir(exist_ok=True)
                model_path = models[variant.parent("base_model")]
                refuse_added_biases(variant, added_layers(store, variant, model_path))
                write_variant_folder(store, variant, publication, model_path=model_path, folder=folder)
                name = folder.relative_to(temporary).as_posix()
                n_base_bytes = _n_bytes(model_path / file for file in _weight_files(model_path))
                n_bytes = _n_bytes(folder.rglob("*"))
                folders.append(PublishedFolder(variant.id, publication.label, name, n_bytes, n_base_bytes))
            if not is_single:
                _write_index(temporary, folders, variants)
    except OSError as err:
        raise StoreError("the folder cannot be written", path=str(out), reason=err.strerror or str(err)) from err
    return folders


def _require_changes(variant: Record) -> None:
    """Refuse the dense model, which has nothing to publish."""
    row = variant.rows["variants"][0]
    if row["mask_sha256"] is None and not row["weights_changed"]:
        raise BadInputError("the dense model has no changes to publish", variant_id=variant.id)


def _weight_files(model_path: Path) -> tuple[str, ...]:
    return WeightFiles(model_path, family_at(model_path)).file_names


def _n_bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())


def _write_index(target: Path, folders: Sequence[PublishedFolder], variants: Sequence[Record]) -> None:
    """Write the list of variants in a folder, as JSON and as a page."""
    entries: list[JsonObject] = [
        {
            "folder": folder.name,
            "variant_id": folder.variant_id,
            "label": folder.label,
            "base_model_id": variant.parent("base_model"),
            "achieved_sparsity": variant.rows["variants"][0]["achieved_sparsity"],
            "n_bytes": folder.n_bytes,
        }
        for folder, variant in zip(folders, variants, strict=True)
    ]
    index: JsonObject = {"format": FORMAT, "variants": entries}
    (target / INDEX).write_text(json_text(index), encoding="utf-8")
    rows = [(f"[{entry['label']}]({entry['folder']}/README.md)", entry["achieved_sparsity"]) for entry in entries]
    text = "Each folder is a variant of its own: its README.md says how to apply it to its base model.\n\n"
    page = section("Published variants", text + table(("variant", "removed fraction"), rows))
    (target / "README.md").write_text("\n".join(page), encoding="utf-8")
