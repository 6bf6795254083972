"""`catalog check`: is every record, artefact, key and view of a store sound?

Nothing is repaired here, but the catalog is folded as for any question, and folding moves records that cannot be read
to quarantine. It is then compared with one made anew from the records.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from catalog.ingest.schema import macros, views
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import DamagedArtefactError, QueryError
from mlprune.store.garbage import FOLDERS
from mlprune.store.parquet import columns_of
from mlprune.store.records import Artefact, Record, identity, record_path
from mlprune.store.store import Store

KEYS: tuple[tuple[str, str, str], ...] = (
    ("metrics", "evaluation_id", "evaluations"),
    ("metrics", "variant_id", "variants"),
    ("evaluations", "variant_id", "variants"),
    ("variants", "base_model_id", "base_models"),
    ("variants", "demonstration_set_id", "demonstration_sets"),
    ("variants", "contrast_set_id", "demonstration_sets"),
    ("variants", "ordering_id", "orderings"),
    ("variant_layers", "variant_id", "variants"),
    ("variant_demonstrations", "variant_id", "variants"),
    ("variant_demonstrations", "demonstration_set_id", "demonstration_sets"),
    ("variant_parents", "variant_id", "variants"),
    ("variant_parents", "parent_variant_id", "variants"),
    ("orderings", "base_model_id", "base_models"),
    ("demonstration_set_parts", "demonstration_set_id", "demonstration_sets"),
    ("demonstration_set_parts", "part_id", "demonstration_sets"),
    ("statistics", "base_model_id", "base_models"),
    ("statistics", "demonstration_set_id", "demonstration_sets"),
    ("feature_magnitudes", "statistics_id", "statistics"),
    ("feature_magnitudes", "demonstration_set_id", "demonstration_sets"),
    ("hidden_means", "base_model_id", "base_models"),
    ("hidden_means", "demonstration_set_id", "demonstration_sets"),
    ("lrp2_trials", "base_model_id", "base_models"),
    ("lrp2_choices", "variant_id", "variants"),
    ("self_translations", "base_model_id", "base_models"),
    ("neuron_activity", "base_model_id", "base_models"),
    ("neuron_activity", "demonstration_set_id", "demonstration_sets"),
    ("neuron_removals", "variant_id", "variants"),
    ("comparisons", "variant_id", "variants"),
    ("comparisons", "baseline_id", "variants"),
    ("comparisons", "evaluation_id", "evaluations"),
    ("comparisons", "baseline_evaluation_id", "evaluations"),
    ("rank_consistency", "variant_id", "variants"),
    ("mask_overlaps", "variant_a", "variants"),
    ("mask_overlaps", "variant_b", "variants"),
    ("feature_overlaps", "base_model_id", "base_models"),
    ("feature_overlaps", "set_a", "demonstration_sets"),
    ("feature_overlaps", "set_b", "demonstration_sets"),
    ("outlier_ratios", "outliers_id", "records"),
    ("outlier_ratios", "base_model_id", "base_models"),
    ("harness_evaluations", "variant_id", "variants"),
    ("harness_results", "harness_id", "harness_evaluations"),
    ("harness_results", "variant_id", "variants"),
    ("record_parents", "parent_id", "records"),
    ("demonstrations", "demonstration_set_id", "demonstration_sets"),
    ("jobs", "environment_id", "environments"),
    ("job_records", "run_file", "jobs"),
    ("run_environments", "environment_id", "environments"),
    ("environment_packages", "environment_id", "environments"),
    ("variant_descriptions", "variant_id", "variants"),
    ("variant_descriptions", "base_model_id", "base_models"),
    ("dense_values", "evaluation_id", "evaluations"),
    ("dense_values", "base_model_id", "base_models"),
    ("repeated_comparisons", "evaluation_id", "evaluations"),
    ("repeated_comparisons", "baseline_evaluation_id", "evaluations"),
    ("outdone_evaluations", "evaluation_id", "evaluations"),
)
"""(table, column, table whose key the column holds)."""

PRIMARY_KEYS = {
    "base_models": "base_model_id",
    "demonstration_sets": "demonstration_set_id",
    "statistics": "statistics_id",
    "orderings": "ordering_id",
    "variants": "variant_id",
    "evaluations": "evaluation_id",
    "harness_evaluations": "harness_id",
    "environments": "environment_id",
    "jobs": "run_file",
    "records": "id",
}


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it should be."""

    what: str
    where: str
    """A path in the store, or a table and column of the catalog."""
    expected: str = ""
    got: str = ""

    def __str__(self) -> str:
        more = f" (expected {self.expected}, got {self.got})" if self.expected or self.got else ""
        return " ".join(f"{self.where}: {self.what}{more}".split())


def check(store: Store) -> tuple[list[Damage], list[str]]:
    """Look at everything.

    Returns: damages, and paths of files that no record names: those are no damage, a killed step leaves such. Claims,
    run files and the quarantine are no part of what is looked at.
    """
    damages: list[Damage] = []
    named: set[str] = set()
    names = store.record_names()
    damages += _segment_damages(store)
    for kind, record_id in names:
        record = _read(store, kind, record_id, damages=damages)
        if record is not None:
            damages += _identity_damages(record, record_path(kind, record_id))
            for artefact in record.artefacts:
                named.add(artefact.path)
                damages += _artefact_damages(store, artefact)
    damages += _catalog_damages(store)
    notes = [path for folder in FOLDERS for path in store.list(folder) if path not in named]
    return damages, notes


def _read(store: Store, kind: str, record_id: str, *, damages: list[Damage]) -> Record | None:
    """A record, left where it is even if it cannot be read."""
    try:
        return store.peek_record(kind, record_id)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        damages.append(Damage(f"the record cannot be read: {err}", record_path(kind, record_id)))
        return None


def _segment_damages(store: Store) -> Iterator[Damage]:
    """Segments that cannot be read, and records of theirs that differ from the same record elsewhere."""
    for kind in store.compacted.kinds():
        for path, reason in store.compacted.damaged(kind).items():
            yield Damage(f"the segment cannot be read: {reason}", path)
        own = {path.rpartition("/")[2].removesuffix(".json") for path in store.list(f"records/{kind}")}
        seen: dict[str, str] = {}
        for path, index in store.compacted.segments(kind).items():
            for record_id in sorted(index.positions.keys() & (own | seen.keys()) - store.compacted.void_in(kind, path)):
                yield from _different(store, kind, record_id, places=(path, seen.get(record_id)))
            seen |= dict.fromkeys(index.positions, path)


def _different(store: Store, kind: str, record_id: str, *, places: tuple[str, str | None]) -> Iterator[Damage]:
    """A record that stands in several places has to be the same in all."""
    texts = [store.compacted.line(kind, place, record_id) for place in places if place is not None]
    data = store.read_file(record_path(kind, record_id))
    values = [json.loads(text) for text in (*texts, data) if text is not None]
    if any(value != values[0] for value in values[1:]):
        yield Damage(
            "the record differs from the one of its name in a segment", record_path(kind, record_id), places[0]
        )


def _identity_damages(record: Record, path: str) -> Iterator[Damage]:
    recomputed = identity(
        record.kind,
        step_version=record.step_version,
        parameters=record.parameters,
        parents=record.parents,
        contents=record.contents,
    )
    if record.id != recomputed:
        yield Damage("the id does not follow from what the record says of itself", path, recomputed, record.id)
    if record.path != path:
        yield Damage("the record lies in the wrong place", path, record.path, path)


def _artefact_damages(store: Store, artefact: Artefact) -> Iterator[Damage]:
    try:
        data = store.read_bytes(artefact)
    except DamagedArtefactError as err:
        context = err.context
        yield Damage(err.message, artefact.path, str(context.get("expected", "")), str(context.get("got", "")))
        return
    if len(data) != artefact.n_bytes:
        yield Damage("the record names another size", artefact.path, str(artefact.n_bytes), str(len(data)))
    if artefact.n_rows is not None and (n_rows := _n_rows(data)) != str(artefact.n_rows):
        yield Damage("the record names another number of rows", artefact.path, str(artefact.n_rows), n_rows)


def _n_rows(data: bytes) -> str:
    """Rows of a Parquet file, or why it is none."""
    try:
        return str(max((len(values) for values in columns_of(data).values()), default=0))
    except (ValueError, OSError) as err:
        return f"no Parquet file: {err}"


def _catalog_damages(store: Store) -> Iterator[Damage]:
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        catalog.fold()
        yield from _not_folded(catalog, store.record_names())
        yield from _dangling_keys(catalog)
        yield from _view_damages(catalog)
        ours, theirs = catalog.fingerprints(), fresh.fingerprints()
        for table in sorted(set(ours) | set(theirs)):
            if ours.get(table) != theirs.get(table):
                counts = [str(found.get(table, (0, 0))[0]) + " rows" for found in (theirs, ours)]
                yield Damage("the table differs from one made anew: run catalog rebuild", table, *counts)


def _not_folded(catalog: Catalog, names: Iterable[tuple[str, str]]) -> Iterator[Damage]:
    folded = {(row[0], row[1]) for row in catalog.select(statement("fold", "folded_records")).rows}
    for kind, record_id in names:
        if (kind, record_id) not in folded:
            yield Damage("the record does not fit the catalog", record_path(kind, record_id))


def _dangling_keys(catalog: Catalog) -> Iterator[Damage]:
    for table, column, parent in KEYS:
        keys = {"table": table, "column": column, "parent": parent, "parent_column": PRIMARY_KEYS[parent]}
        for row in catalog.query(statement("fold", "dangling_keys", **keys)):
            yield Damage(f"a key has no row in {parent}", f"{table}.{column}", "a known id", str(row["key"]))


def _view_damages(catalog: Catalog) -> Iterator[Damage]:
    for view in (*views(), *(f"{name}('')" for name in macros())):
        try:
            catalog.select(statement("fold", "count_view", view=view))
        except QueryError as err:
            yield Damage("the view cannot be queried", view, got=str(err))
