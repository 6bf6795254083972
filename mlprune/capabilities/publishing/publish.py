"""Publish variants: folders with masks and new values, without the weights of their base model.

A folder also states the base model with the hash of every tensor, metrics, recipe and environment, and has the loader
`apply_published.py`, which needs torch and safetensors only. Uploading is left to the tools of a hub.
"""

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlprune import __version__
from mlprune.atomic import remove_left_over, replacing
from mlprune.capabilities.publishing import apply_published
from mlprune.capabilities.publishing.added_biases import added_layers, refuse_added_biases
from mlprune.capabilities.publishing.export import require_exportable, require_free
from mlprune.capabilities.publishing.model_card import cell, model_card, section, table, with_ancestors
from mlprune.capabilities.publishing.tensor_changes import FORMAT as TENSOR_CHANGES_FORMAT
from mlprune.capabilities.publishing.tensor_changes import described_tensors, removed_experts_of, write_delta
from mlprune.errors import BadInputError, StoreError
from mlprune.evaluation.eval_results import write_eval_results
from mlprune.json_values import JsonObject, JsonValue, as_str, json_text
from mlprune.models.checkpoint.tensor_hashes import base_tensor_hashes
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.loading import ModelInfo
from mlprune.steps.inputs import require_base_model
from mlprune.steps.variants.variant_rows import form_without_masks, variant_record
from mlprune.store.records import Record
from mlprune.store.store import Store

_CONTENTS = {
    "published.json": "base model, and the SHA-256 of every tensor before and after",
    "masks.safetensors": "one bit per weight of each changed tensor; 1 means that the weight stays",
    "changed.safetensors": "new values of kept weights",
    "metrics.json": "metrics with intervals, numbers of items, chance levels and the dense model's values",
    "recipe.yaml": "the recipe that made the variant",
    "lineage.json": "records of everything that it was made from",
    "environment.json": "code, packages and machines that computed it",
    ".eval_results": "accuracies on benchmarks, as the hub reads them",
    "apply_published.py": "loader; needs torch and safetensors only",
}
MANIFEST, METRICS, LINEAGE, ENVIRONMENT = "published.json", "metrics.json", "lineage.json", "environment.json"
RECIPE, CARD, LOADER = "recipe.yaml", "README.md", "apply_published.py"
_COMMIT = re.compile(r"[0-9a-f]{40}")
INDEX = "index.json"
FORMAT = "mlprune-published-index/1"


@dataclass(frozen=True)
class Publication:
    """A variant, and what the catalog and the run files say of it."""

    variant_id: str
    label: str
    """The name of the variant in reports."""
    metrics: Sequence[JsonObject] = ()
    """Rows of `metrics.sql` of the folder `publish`."""
    environments: Sequence[JsonObject] = ()
    """Environments in which the variant and what it was made from were computed."""
    recipe: str | None = None
    """The recipe that made the variant, as YAML; None if no run file contains it."""
    data_sets: Mapping[str, str] = field(default_factory=dict)
    """Repository of each data set that recipes of the store read from a hub -> its commit."""


def instructions(base: JsonObject, folder: Path) -> str:
    """Return the section.

    Args:
        base: description of the base model in `published.json`.
        folder: the folder of the variant.
    """
    files = [(f"`{name}`", text) for name, text in _CONTENTS.items() if (folder / name).exists()]
    text = (
        f"This folder has no weights of the base model. {_base_text(base)}\n\n"
        "```\npython apply_published.py BASE OUT\n```\n\n"
        "`BASE` is the folder of the base model, `OUT` the folder to make, which transformers loads. Another base "
        "model is refused. `mlprune apply BASE PUBLISHED --out OUT` does the same.\n\n"
    )
    return "\n".join(section("How to apply", text + table(("file", "content"), files)))


def _base_text(base: JsonObject) -> str:
    """Where the base model can be had."""
    source, revision = cell(base["source"]), base["revision"]
    if base["imported_from"] is not None:
        at = f" at commit {base['imported_revision']}" if base["imported_revision"] else ""
        return f"The base model is `{cell(base['imported_from'])}`{at}, converted by `mlprune import`."
    if revision is not None:
        return f"The base model is on the hub: `hf download {source} --revision {revision}`."
    return f"The base model is `{source}`; `published.json` has the hashes of its tensors."


def write_variant_folder(
    store: Store, variant: Record, publication: Publication, *, model_path: Path, folder: Path
) -> None:
    """Write the files of a published variant to an empty folder; raises as `publish_variants`."""
    info = require_base_model(model_path, variant.parent("base_model"))
    results = write_delta(store, variant, model_path, folder)
    base = _base_model(store, variant, info, model_path)
    manifest: JsonObject = {
        "format": TENSOR_CHANGES_FORMAT,
        "variant_id": variant.id,
        "label": publication.label,
        "made_by": f"mlprune {__version__}",
        "base_model": base,
        "tensors": described_tensors(base_tensor_hashes(model_path), results),
    }
    harness = _harness_results(store, variant.id)
    metrics: JsonObject = {"variant_id": variant.id, "metrics": publication.metrics, "harness": harness}
    _write_json(folder / MANIFEST, manifest)
    _write_json(folder / METRICS, metrics)
    _write_json(folder / LINEAGE, [_lineage_entry(record) for record in with_ancestors(store, [variant])])
    _write_json(folder / ENVIRONMENT, publication.environments)
    if publication.recipe is not None:
        (folder / RECIPE).write_text(publication.recipe, encoding="utf-8")
    write_eval_results(folder, publication.metrics, publication.data_sets)
    shutil.copyfile(str(apply_published.__file__), folder / LOADER)
    card = model_card(store, variant, form="published")
    (folder / CARD).write_text("\n".join((card, instructions(base, folder))), encoding="utf-8")


def _base_model(store: Store, variant: Record, info: ModelInfo, model_path: Path) -> dict[str, JsonValue]:
    """Describe the base model: names, revision, and the hashes of its config and tokenizer."""
    base_id = variant.parent("base_model")
    row = store.require("base_models", base_id).rows["base_models"][0]
    weights = _weight_files(model_path)
    return {
        "id": base_id,
        "source": row["source"],
        "revision": model_path.name if _COMMIT.fullmatch(model_path.name) else None,
        "imported_from": row.get("imported_from"),
        "imported_revision": row.get("imported_revision"),
        "files": {name: sha256 for name, sha256 in info.content.items() if name not in weights},
    }


def _harness_results(store: Store, variant_id: str) -> list[JsonObject]:
    """Results of lm-evaluation-harness for a variant, each with the settings of its evaluation, ordered by task."""
    results: list[JsonObject] = []
    for record in store.records("harness_evaluations"):
        for evaluation in record.rows.get("harness_evaluations", ()):
            if evaluation["variant_id"] == variant_id:
                results += [{**evaluation, **result} for result in record.rows.get("harness_results", ())]
    return sorted(results, key=lambda row: (as_str(row["task"]), as_str(row["harness_id"]), as_str(row["metric"])))


def _lineage_entry(record: Record) -> JsonObject:
    return {
        "kind": record.kind,
        "id": record.id,
        "step_version": record.step_version,
        "parameters": record.parameters,
        "parents": {role: ids if isinstance(ids, str) else list(ids) for role, ids in record.parents.items()},
        "contents": dict(record.contents),
    }


def _write_json(path: Path, value: JsonValue) -> None:
    path.write_text(json_text(value), encoding="utf-8")


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
        BadInputError: a folder contains another model, a variant has an intervention at run time, it adds biases, lacks
            experts, or is the dense model or a quantised checkpoint.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: a changed weight is too large for the dtype of the base model's files.
        PermanentError: the masks or new weights differ from the variant's record.
    """
    variants = [variant_record(store, one.variant_id) for one in publications]
    for variant in variants:
        require_exportable(variant)
        _require_changes(variant)
        if "quantised_checkpoints" in variant.rows:
            message = "a quantised checkpoint has new values of all weights and no masks to publish"
            raise BadInputError(message, variant_id=variant.id, next="mlprune export writes its values as a folder")
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
                _refuse_removed_experts(variant, removed_experts_of(store, variant, model_path))
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
    """Refuse the dense model, which has nothing to publish, and variants without blocks, which have no masks."""
    row = variant.rows["variants"][0]
    if row.get("removed_blocks"):
        message = "a variant without some blocks has no masks to publish"
        raise BadInputError(message, variant_id=variant.id, next="write a smaller model folder with mlprune export")
    if row["mask_sha256"] is None and not row["weights_changed"]:
        message = "a variant without masks and new weights has nothing to publish"
        raise BadInputError(message, variant_id=variant.id, got=form_without_masks(variant))


def _refuse_removed_experts(variant: Record, removed: Mapping[int, tuple[int, ...]]) -> None:
    """Refuse a variant without some experts: masks alone leave them to the choice of the router."""
    if removed:
        message = "a variant without some experts cannot be published as masks: a router would still choose them"
        raise BadInputError(
            message,
            variant_id=variant.id,
            blocks=sorted(removed),
            next="write a smaller model folder with mlprune export",
        )


def _weight_files(model_path: Path) -> tuple[str, ...]:
    return WeightFiles(model_path, architecture_at(model_path)).file_names


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
    _write_json(target / INDEX, index)
    rows = [(f"[{entry['label']}]({entry['folder']}/README.md)", entry["achieved_sparsity"]) for entry in entries]
    text = "Each folder is a variant of its own: its README.md says how to apply it to its base model.\n\n"
    page = section("Published variants", text + table(("variant", "removed fraction"), rows))
    (target / "README.md").write_text("\n".join(page), encoding="utf-8")
