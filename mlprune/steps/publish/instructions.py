"""Section of a published variant's card: its files, the base model it needs, and how to apply it."""

from pathlib import Path

from mlprune.json_values import JsonObject
from mlprune.steps.export.markdown import cell, section, table

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
        "model is refused. `mlprune apply BASE PUBLISHED OUT` does the same.\n\n"
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
