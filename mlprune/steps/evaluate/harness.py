"""Step `harness`: tasks of lm-evaluation-harness on variants of a store, each pair a record of its own.

The dense weights are loaded once; a variant is put in place when something is left to do for it, as evaluation does.
Which variants a name means is answered here too, from the records.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.errors import BadInputError, StoreError, unknown
from mlprune.evaluation.harness.adapter import ChainModel
from mlprune.evaluation.harness.task_requests import HarnessRun, HarnessTask, harness_version, requests_sha256, run_task
from mlprune.json_values import JsonObject, JsonValue, as_str
from mlprune.models.loading import load_tokenizer
from mlprune.steps.evaluate.jobs import apply_variant
from mlprune.steps.job import ChainLoader, Identity, ModelRef, computed_parameters, make_identity
from mlprune.store.records import Record
from mlprune.store.store import Store

KIND = "harness_evaluations"

REQUESTS_SCHEMA = {
    "doc_id": "int64",
    "request_index": "int32",
    "kind": "string",
    "context": "string",
    "continuation": "string",
    "log_likelihood": "double",
    "is_greedy": "bool",
    "output": "string",
}
DOCUMENTS_SCHEMA = {
    "doc_id": "int64",
    "filter": "string",
    "target": "string",
    "document": "string",
    "metrics": "string",
}
"""Columns of the two files of samples."""


@dataclass(frozen=True)
class HarnessOptions:
    """What is chosen beside variants and tasks."""

    limit: int | None
    """Documents from the start of each task's split; None for all."""
    batch_tokens: int


@dataclass(frozen=True)
class Evaluated:
    """One variant on one task."""

    variant_id: str
    task: str
    record: Record
    was_there: bool
    """Whether the store had it already."""


def run_harness(
    store: Store,
    chain: ChainLoader,
    *,
    model: ModelRef,
    variant_ids: Sequence[str],
    tasks: Sequence[HarnessTask],
    options: HarnessOptions,
) -> Iterator[Evaluated]:
    """Run tasks on variants of one base model; what has a sound record is not run again.

    Args:
        chain: gives the base model's chain; called only if something is to be run.
        model: the base model.
    Yields: each pair as soon as its record is written, variant after variant.
    Raises:
        BadInputError: a variant does something at run time, which is not put in place here.
        TaskFileError: a task's data or code fail.
    """
    asked = {task.name: requests_sha256(task, limit=options.limit) for task in tasks}
    answering: ChainModel | None = None
    in_place = ""
    for variant_id in variant_ids:
        _check_is_weights(store, variant_id)
        for task in tasks:
            identity = _identity(model, variant_id, task, requests=asked[task.name], options=options)
            record = store.read_record(*identity.key)
            was_there = record is not None and store.is_complete(record)
            if record is None or not was_there:
                if in_place != variant_id:
                    apply_variant(chain(), store, variant_id)
                    in_place = variant_id
                answering = answering or _answering(chain, model, options)
                record = _evaluate(store, answering, identity, variant_id=variant_id, task=task, options=options)
            yield Evaluated(variant_id, task.name, record, was_there)


def _answering(chain: ChainLoader, model: ModelRef, options: HarnessOptions) -> ChainModel:
    tokenizer = load_tokenizer(Path(model.path))
    return ChainModel(chain(), tokenizer, max_positions=model.max_positions, batch_tokens=options.batch_tokens)


def _identity(
    model: ModelRef, variant_id: str, task: HarnessTask, *, requests: str, options: HarnessOptions
) -> Identity:
    parameters = {
        "task": task.name,
        "task_version": task.version,
        "config_sha256": task.config_sha256,
        "n_shots": task.n_shots,
        "limit": options.limit,
        **computed_parameters(model, batch_tokens=options.batch_tokens),
        "harness_version": harness_version(),
    }
    return make_identity(KIND, parameters, parents={"variant": variant_id}, contents={"requests": requests})


def _evaluate(
    store: Store,
    answering: ChainModel,
    identity: Identity,
    *,
    variant_id: str,
    task: HarnessTask,
    options: HarnessOptions,
) -> Record:
    """Run one task on the variant that is in place, and write it down."""
    found = run_task(answering, task, limit=options.limit)
    artefacts = tuple(
        store.write_table(f"harness/{identity.id}/{name}.parquet", _columns(rows, schema), schema)
        for name, rows, schema in (
            ("documents", found.documents, DOCUMENTS_SCHEMA),
            ("requests", found.requests, REQUESTS_SCHEMA),
        )
    )
    record = identity.record(artefacts=artefacts, rows=_rows(identity, variant_id, found))
    store.write_record(record)
    return record


def _columns(rows: Sequence[JsonObject], schema: Mapping[str, str]) -> dict[str, list[JsonValue]]:
    return {name: [row[name] for row in rows] for name in schema}


def _rows(identity: Identity, variant_id: str, run: HarnessRun) -> dict[str, list[dict[str, JsonValue]]]:
    """Table -> rows of one evaluation."""
    names = ("task", "task_version", "config_sha256", "n_shots", "harness_version", "dtype")
    row: dict[str, JsonValue] = {
        "harness_id": identity.id,
        "variant_id": variant_id,
        **{name: identity.parameters[name] for name in names},
        "example_limit": identity.parameters["limit"],
        "n_documents": run.n_documents,
        "n_requests": len(run.requests),
    }
    results: list[dict[str, JsonValue]] = [
        {
            "harness_id": identity.id,
            "variant_id": variant_id,
            "task": row["task"],
            "metric": result.metric,
            "filter": result.filter,
            "value": result.value,
            "stderr": result.stderr,
            "higher_is_better": result.higher_is_better,
        }
        for result in run.results
    ]
    return {KIND: [row], "harness_results": results}


def _check_is_weights(store: Store, variant_id: str) -> None:
    intervention = store.require("variants", variant_id).rows["variants"][0]["intervention"]
    if intervention:
        message = "the variant is more than weights: what it does at run time is not put in place here"
        raise BadInputError(message, variant_id=variant_id, got=intervention)


def find_variants(store: Store, names: Sequence[str]) -> list[str]:
    """The ids of variants given by id or by a name that a recipe of this store uses, each once, in the order given.

    A name that several variants share stands for all of them; `recipe/name` is a name in one recipe.

    Raises:
        StoreError: there is no such variant, or recipes use the name for different ones.
    """
    known = {record_id for _, record_id in store.record_names("variants")}
    unknown = [name for name in names if name not in known]
    by_recipe = _named_variants(store) if unknown else {}
    found = [one for name in names for one in ([name] if name in known else _named(by_recipe, name, store.uri))]
    return list(dict.fromkeys(found))


def _named_variants(store: Store) -> dict[str, dict[str, list[str]]]:
    """Recipe -> name -> ids of variants."""
    found: dict[str, dict[str, list[str]]] = {}
    for record in store.records("recipes"):
        for row in record.rows.get("names", ()):
            if row["kind"] == "variant":
                ids = found.setdefault(as_str(row["recipe"]), {}).setdefault(as_str(row["name"]), [])
                ids += [as_str(row["id"])] if row["id"] not in ids else []
    return found


def _named(by_recipe: Mapping[str, Mapping[str, list[str]]], name: str, store_uri: str) -> list[str]:
    recipe, _, own = name.partition("/")
    if own in by_recipe.get(recipe, {}):
        return by_recipe[recipe][own]
    candidates = {recipe: names[name] for recipe, names in by_recipe.items() if name in names}
    if not candidates:
        known = sorted({known_name for names in by_recipe.values() for known_name in names})
        raise unknown("variant", name, known, error=StoreError, n_nearest=3, store=store_uri)
    if len({tuple(sorted(ids)) for ids in candidates.values()}) > 1:
        expected = [f"{recipe}/{name}" for recipe in sorted(candidates)]
        raise StoreError("recipes call different variants by this name", got=name, expected=expected)
    return next(iter(candidates.values()))
