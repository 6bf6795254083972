"""What the catalog, the recipes and the run files of a store say of variants that are published."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from catalog.results import QueryResult, to_json
from catalog.sql_files import named_query, statement
from catalog.standards import data_set_commits
from catalog.store import Catalog
from mlprune.json_values import JsonObject, as_object, as_str
from mlprune.steps.publish.publish import Publication
from mlprune.store.store import Store


def publications_of(store: Store, variant_ids: Sequence[str]) -> list[Publication]:
    """Describe variants. The catalog is updated first."""
    with Catalog.open(store) as catalog:
        catalog.fold()
        data_sets = data_set_commits(catalog)
        return [_publication(catalog, store, variant_id, data_sets=data_sets) for variant_id in variant_ids]


def _publication(catalog: Catalog, store: Store, variant_id: str, *, data_sets: Mapping[str, str]) -> Publication:
    of_variant = {"variant_id": variant_id}
    label = catalog.query(statement("publish", "label"), of_variant)[0]["label"]
    metrics = _rows(catalog.select(named_query("metrics_of_variant"), of_variant))
    origins = _rows(catalog.select(named_query("lineage_of_code"), {"evaluation_id": variant_id}))
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
    query = named_query("packages_of_environment")
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
