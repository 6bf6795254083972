"""The folder of one published variant: its delta, and what it was made from, by and measured with."""

import re
import shutil
from pathlib import Path

from mlprune import __version__
from mlprune.json_values import JsonObject, JsonValue, as_str, json_text
from mlprune.models.checkpoint.tensor_hashes import base_tensor_hashes
from mlprune.models.checkpoint.weight_files import WeightFiles, family_at
from mlprune.models.loading import ModelInfo
from mlprune.steps.base_model import require_base_model
from mlprune.steps.export.lineage import with_ancestors
from mlprune.steps.export.model_card import model_card
from mlprune.steps.publish import apply_published
from mlprune.steps.publish.delta import FORMAT, described_tensors, write_delta
from mlprune.steps.publish.eval_results import FOLDER, eval_results
from mlprune.steps.publish.instructions import instructions
from mlprune.steps.publish.publication import Publication
from mlprune.store.records import Record
from mlprune.store.store import Store

MANIFEST, METRICS, LINEAGE, ENVIRONMENT = "published.json", "metrics.json", "lineage.json", "environment.json"
RECIPE, CARD, LOADER = "recipe.yaml", "README.md", "apply_published.py"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def write_variant_folder(
    store: Store, variant: Record, publication: Publication, *, model_path: Path, folder: Path
) -> None:
    """Write the files of a published variant to an empty folder; raises as `publish_variants`."""
    info = require_base_model(model_path, variant.parent("base_model"))
    results = write_delta(store, variant, model_path, folder)
    base = _base_model(store, variant, info, model_path)
    manifest: JsonObject = {
        "format": FORMAT,
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
    for name, text in eval_results(publication.metrics, publication.data_sets).items():
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / FOLDER / name).write_text(text, encoding="utf-8")
    shutil.copyfile(str(apply_published.__file__), folder / LOADER)
    card = model_card(store, variant, form="published")
    (folder / CARD).write_text("\n".join((card, instructions(base, folder))), encoding="utf-8")


def _base_model(store: Store, variant: Record, info: ModelInfo, model_path: Path) -> dict[str, JsonValue]:
    """Describe the base model: names, revision, and the hashes of its config and tokenizer."""
    base_id = variant.parent("base_model")
    row = store.require("base_models", base_id).rows["base_models"][0]
    weights = WeightFiles(model_path, family_at(model_path)).file_names
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
