"""Recipes with a set of texts that the model writes itself, and their texts."""

from pathlib import Path
from typing import Any

from mlprune.capabilities.generation.generation import GenerateJob
from mlprune.store.store import Store
from tests.tiny_recipes import plan_of, run_jobs, tiny_recipe, write_recipe

OWN: dict[str, Any] = {"name": "own", "kind": "generated", "language": ["fr", "sw"], "samples": 3, "max_tokens": 24}
WANDA = {"name": "pruned", "score": "wanda", "demonstrations": "own", "sparsity": 0.5, "propagation": "dense"}


def recipe_of(*, batch_tokens: int = 128, variants: tuple[dict[str, Any], ...] = (), **changes: Any) -> dict[str, Any]:
    recipe = {key: value for key, value in tiny_recipe().items() if key not in ("evaluations", "questions")}
    compute = {"batch_tokens": batch_tokens}
    return {**recipe, "demonstrations": [{**OWN, **changes}], "variants": list(variants), "compute": compute}


def written(folder: Path, store: Store, **changes: Any) -> dict[str, dict[str, list[Any]]]:
    """Run a recipe; return language -> table of its generated texts."""
    plan = plan_of(write_recipe(folder, recipe_of(**changes), name="own.yaml"))
    steps = ("generate", "demonstrate")
    run_jobs([job for job in plan.jobs if "variants" in changes or job.step in steps], store, model=plan.model)
    jobs = [job for job in plan.jobs if isinstance(job, GenerateJob)]
    tables = {job.spec.language: store.read_table(store.require(*job.identity.key).artefacts[0]) for job in jobs}
    return {
        language: {"text": table["text"], "token_ids": [[int(token) for token in ids] for ids in table["token_ids"]]}
        for language, table in tables.items()
    }
