"""`mlprune export --as masks` and `mlprune apply`: share variants without the weights of their base model."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.results import QueryResult, to_json
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.json_values import JsonObject, as_object, as_str
from mlprune.store.repair import quarantine_on_damage
from mlprune.store.store import Store
from ray_jobs.cli.options import ModelOption, StoreOption, VariantsArgument, echo, existing_store

if TYPE_CHECKING:
    from mlprune.steps.publish.publish import Publication


def publish(
    variants: VariantsArgument,
    *,
    to: Annotated[Path, typer.Option("--out", help="Folder to make; it must be empty or not exist.")],
    store: StoreOption,
    model: ModelOption = None,
) -> None:
    """Write variants as folders that can be shared: masks of one bit per weight, new values, hashes and metrics.

    Several variants become folders named by their ids, with an index. Upload a folder with `hf upload`.

    \b
    Examples:
      mlprune export fr-en --as masks --out published/ --store runs/
      mlprune export fr-en sw-en --as masks --out published/ --store runs/
    """
    from catalog.stored_names import find_variants  # noqa: PLC0415
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415 - these load torch
    from mlprune.steps.publish.publish import publish_variants  # noqa: PLC0415

    opened = existing_store(store, quarantine=True)
    variant_ids = find_variants(opened, variants)
    base_ids = {opened.require("variants", variant_id).parent("base_model"): None for variant_id in variant_ids}
    models = {base_id: model or find_base_model(opened, base_id) for base_id in base_ids}
    publications = publications_of(opened, variant_ids)
    with quarantine_on_damage(opened):
        folders = publish_variants(opened, publications, models, to)
    for folder in folders:
        share = folder.n_base_bytes / folder.n_bytes
        size = f"{folder.n_bytes / 1e6:.1f} MB, 1/{share:.1f} of the base model's weights"
        echo(f"{to / folder.name}: {folder.label}, {size}", err=True)
    echo(str(to))


def apply(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder or hub id of the base model.")],
    published: Annotated[Path, typer.Argument(help="Folder of one published variant.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder to make; it must be empty or not exist.")],
) -> None:
    """Make a pruned model from its base model and published masks.

    Every tensor is compared with its published SHA-256, before and after; another base model is refused.

    Example: mlprune apply facebook/xglm-564M published/ --out pruned/
    """
    from mlprune.steps.publish.apply import apply_published  # noqa: PLC0415 - loads torch

    apply_published(base, published, out)
    echo(str(out))


def publications_of(store: Store, variant_ids: Sequence[str]) -> "list[Publication]":
    """Describe variants. The catalog is updated first."""
    from catalog.stored_names import data_set_commits  # noqa: PLC0415 - loads torch

    with Catalog.open(store) as catalog:
        catalog.fold()
        data_sets = data_set_commits(catalog)
        return [_publication(catalog, store, variant_id, data_sets=data_sets) for variant_id in variant_ids]


def _publication(catalog: Catalog, store: Store, variant_id: str, *, data_sets: Mapping[str, str]) -> "Publication":
    from mlprune.steps.publish.publish import Publication  # noqa: PLC0415 - loads torch

    of_variant = {"variant_id": variant_id}
    label = catalog.query(statement("publish", "label"), of_variant)[0]["label"]
    metrics = _rows(catalog.select(statement("publish", "metrics"), of_variant))
    origins = _rows(catalog.select(statement("publish", "origins"), {"evaluation_id": variant_id}))
    return Publication(
        variant_id,
        label,
        metrics=metrics,
        environments=_environments(catalog, origins),
        recipe=_recipe(store, origins),
        data_sets=data_sets,
    )


def _rows(result: QueryResult) -> list[JsonObject]:
    """Return rows as JSON objects: times as text, numbers that are not finite as None."""
    rows: list[JsonObject] = json.loads(to_json(result))
    return rows


def _environments(catalog: Catalog, origins: Sequence[JsonObject]) -> list[JsonObject]:
    """Return each environment once, with its packages and the records that were made in it."""
    made: dict[str, list[JsonObject]] = defaultdict(list)
    for row in origins:
        if row["environment_id"] is not None:
            made[as_str(row["environment_id"])].append(row)
    query = statement("publish", "packages")
    names = ("mlprune", "git_commit", "is_modified", "code_sha256", "python", "system", "processor", "instructions")
    return [
        {"environment_id": environment_id}
        | {name: rows[0][name] for name in (*names, "accelerators")}
        | {"packages": [row["requirement"] for row in catalog.query(query, {"environment_id": environment_id})]}
        | {"made": [f"{row['kind']}/{row['id']}" for row in rows]}
        for environment_id, rows in made.items()
    ]


def _recipe(store: Store, origins: Sequence[JsonObject]) -> str | None:
    """Return the recipe of the run that made the variant, or else what it was made from; None if no run file has it.

    Args:
        origins: records from the variant on, each with the last run that made it.
    """
    for run_id in dict.fromkeys(row["run_id"] for row in origins if row["run_id"] is not None):
        try:
            text = as_object(store.read_json(f"runs/{run_id}/run.json")).get("recipe_yaml")
        except (OSError, ValueError, TypeError):
            continue
        if isinstance(text, str):
            return text
    return None
