"""Check every record, artefact and view of a store, and repair damage.

Check every record, artefact, foreign key and view of a store.

The check moves no record. It folds the catalog as any query does, and compares the result with a
catalog that is built from the same records alone. Runs may write to the store meanwhile: what they add after the check
began is not examined, and no damage.

Repair what the check of a store found: set damaged results aside, so that the next run makes them again.

Results are computed from a recipe, so a repair computes none. It moves the records concerned to `quarantine/`. If a
file of a record is damaged, everything computed from the record stays for now, and for good if the next run makes the
same bytes. If the content of a record is wrong, everything computed from it is wrong and set aside, too.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass

from catalog.ingest.record_rows import RECIPES, row_problems
from catalog.ingest.table_files import ForeignKey, declared_tables, foreign_keys, macros, views
from catalog.sql_files import statement
from catalog.store import Catalog, rebuild
from mlprune import errors
from mlprune.counted import counted
from mlprune.json_values import as_str
from mlprune.steps.questions.declaring_records import declaration_problems
from mlprune.store.parquet import n_rows_of
from mlprune.store.record_kinds import ARTEFACT_FOLDERS
from mlprune.store.records import Artefact, Record, RecordKey, one_line, record_path
from mlprune.store.repair import quarantine_records_of
from mlprune.store.store import Store
from mlprune.store.succession import quarantine_dependents

MAY_DIFFER = "whose numbers can differ in the last bits"
CATALOG_DIFFERS = "the table differs from a rebuilt one"


@dataclass(frozen=True)
class Damage:
    """One problem in a store or its catalog."""

    problem: str
    location: str
    """A path in the store, or a table and column of the catalog."""
    expected: str = ""
    got: str = ""
    is_wrong_content: bool = False
    """Whether a record can be read but is wrong, so that results computed from it are wrong, too."""

    def __str__(self) -> str:
        values = f" (expected {self.expected}, got {self.got})" if self.expected or self.got else ""
        return " ".join(f"{self.location}: {self.problem}{values}".split())


def check(store: Store) -> tuple[list[Damage], list[str]]:
    """Check a whole store, except claims, run files and the quarantine.

    Returns: damages, and notes: paths of files that no record references, and the processors if there are several
        kinds. Such files are normal: a killed step can write artefacts without their record.
    """
    damages: list[Damage] = []
    artefacts: set[Artefact] = set()
    files = [path for folder in ARTEFACT_FOLDERS for path in store.list(folder)]  # before the records that list them
    names = store.record_names()
    damages += _segment_damages(store)
    for kind, record_id in names:
        record = _read_record(store, kind, record_id, damages=damages)
        if record is not None:
            for artefact in record.artefacts:
                if artefact not in artefacts:
                    artefacts.add(artefact)
                    damages += _artefact_damages(store, artefact)
            problems = [*row_problems(record), *(declaration_problems(record) if kind == RECIPES else ())]
            damages += [Damage(problem, record.path, is_wrong_content=True) for problem in problems]
    damaged = {damage.location for damage in damages}
    intact = [name for name in names if record_path(*name) not in damaged]
    next_step = "run catalog rebuild" if len(intact) == len(names) else "first run the recipes of the damaged records"
    damages += _catalog_damages(store, intact, next_step=next_step)
    referenced = {artefact.path for artefact in artefacts}
    notes = [path for path in files if path not in referenced]
    return damages, [*notes, *_processor_notes(store), *declaration_notes(store)]


def declaration_notes(store: Store) -> Iterator[str]:
    """Say which records of recipes are not accepted or missing, and whether what they declared stays in a family."""
    with Catalog.open(store) as catalog:
        catalog.fold()
        lost = catalog.query(statement("fold", "quarantined_declarations"))
        missing = catalog.query(statement("fold", "missing_declarations"))
    for row in lost:
        path, n_questions = record_path(RECIPES, row["record_id"]), counted(row["n_questions"], "declared question")
        yield f"{path} is damaged or in quarantine: {n_questions} of it stay in the 5 % of recipe {row['recipe']}"
    for row in missing:
        path, recipe = record_path(RECIPES, row["recipe_id"]), row["recipe"]
        yield f"{path} is missing, which run {row['run_id']} wrote: what recipe {recipe} declared there is in no family"


def _processor_notes(store: Store) -> list[str]:
    """Say which processors computed the results, if there are several kinds: only last bits may differ."""
    with Catalog.open(store) as catalog:
        rows = catalog.query(statement("fold", "processors"))
    kinds = [f"{row['processor']} with {row['instructions']}: {counted(row['n_jobs'], 'job')}" for row in rows]
    return [f"results of {len(kinds)} kinds of processor, {MAY_DIFFER}: {'; '.join(kinds)}"] if len(kinds) > 1 else []


def _read_record(store: Store, kind: str, record_id: str, *, damages: list[Damage]) -> Record | None:
    """Read a record; a damaged one is reported and not moved to the quarantine."""
    try:
        return store.peek_record(kind, record_id)
    except errors.DamagedRecordError as err:
        damages.append(Damage(f"the record is damaged: {err.context['reason']}", record_path(kind, record_id)))
    except OSError as err:
        damages.append(Damage(f"the record cannot be read: {err}", record_path(kind, record_id)))
    return None


def _segment_damages(store: Store) -> Iterator[Damage]:
    """Find segments that cannot be read, and records in them that differ from another copy of the same record."""
    for kind in store.compacted.kinds():
        for path, reason in store.compacted.damaged(kind).items():
            yield Damage(f"the segment cannot be read: {reason}", path)
        single_ids = {path.rpartition("/")[2].removesuffix(".json") for path in store.list(f"records/{kind}")}
        seen: dict[str, str] = {}
        for path, index in store.compacted.segments(kind).items():
            for record_id in sorted(
                index.positions.keys() & (single_ids | seen.keys()) - store.compacted.void_ids(kind, path)
            ):
                yield from _differing_copies(store, kind, record_id, segments=(path, seen.get(record_id)))
            seen |= dict.fromkeys(index.positions, path)


def _differing_copies(store: Store, kind: str, record_id: str, *, segments: tuple[str, str | None]) -> Iterator[Damage]:
    """Compare the copies of a record in segments and in its own file."""
    texts = [store.compacted.line(kind, path, record_id) for path in segments if path is not None]
    data = store.read_file(record_path(kind, record_id))
    lines = {one_line(text) for text in (*texts, data) if text is not None}
    if len(lines) > 1:
        path = record_path(kind, record_id)
        yield Damage("the record differs from its copy in a segment", path, segments[0], is_wrong_content=True)


def _artefact_damages(store: Store, artefact: Artefact) -> Iterator[Damage]:
    try:
        data = store.read_bytes(artefact)
    except errors.RetiredArtefactError:
        return
    except errors.DamagedArtefactError as err:
        context = err.context
        yield Damage(err.message, artefact.path, str(context.get("expected", "")), str(context.get("got", "")))
        return
    if len(data) != artefact.n_bytes:
        yield Damage("the size differs from the record", artefact.path, str(artefact.n_bytes), str(len(data)))
    if artefact.n_rows is not None and (n_rows := _n_rows(data)) != str(artefact.n_rows):
        yield Damage("the number of rows differs from the record", artefact.path, str(artefact.n_rows), n_rows)


def _n_rows(data: bytes) -> str:
    """Return the number of rows of a Parquet file, or the reason why it is not one."""
    try:
        return str(n_rows_of(data))
    except (ValueError, OSError) as err:
        return f"not a Parquet file: {err}"


def _catalog_damages(store: Store, names: Sequence[RecordKey], *, next_step: str) -> list[Damage]:
    """Find what is wrong with the catalog.

    A fold lists one kind after the other, so it may miss a record that a run wrote before another one that it finds,
    and a run may move a record to the quarantine. A difference in only one of two folds is therefore not damage.
    """
    damages = list(_damages_of_fold(store, names, next_step=next_step))
    if not damages:
        return []
    again = set(_damages_of_fold(store, names, next_step=next_step))
    return [damage for damage in damages if damage in again]


def _damages_of_fold(store: Store, names: Sequence[RecordKey], *, next_step: str) -> Iterator[Damage]:
    with Catalog.open(store) as catalog:
        catalog.fold()
        folded = {(str(row[0]), str(row[1])) for row in catalog.select(statement("fold", "folded_records")).rows}
        yield from _unfolded_records(store, names, folded)
        yield from _dangling_keys(catalog)
        broken_views = list(_view_damages(catalog))
        yield from broken_views or _contradictions(catalog)
        actual = catalog.fingerprints()
    with Catalog.in_memory(_Listed(store, folded | set(store.record_names(RECIPES)))) as fresh:
        expected = fresh.fingerprints()
    for table in sorted(set(actual) | set(expected)):
        if actual.get(table) != expected.get(table):
            rows, found = (f"{counts.get(table, (0, 0))[0]} rows" for counts in (expected, actual))
            yield Damage(f"{CATALOG_DIFFERS}: {next_step}", table, rows, found)


class _Listed(Store):
    """A store of which only some records are listed.

    Args:
        keys: (kind, id) of these records; those that no longer exist are not listed.
    """

    def __init__(self, store: Store, keys: Iterable[RecordKey]) -> None:
        super().__init__(store.uri)
        self._keys = set(keys)

    def record_ids(self, kind: str | None = None) -> dict[str, set[str]]:
        """Return kind -> ids of the listed records."""
        return {
            name: {record_id for record_id in ids if (name, record_id) in self._keys}
            for name, ids in super().record_ids(kind).items()
        }


def _unfolded_records(store: Store, names: Iterable[RecordKey], folded: Set[RecordKey]) -> Iterator[Damage]:
    for kind, record_id in names:
        if (kind, record_id) not in folded and store.has_record(kind, record_id):
            path = record_path(kind, record_id)
            yield Damage("the record does not fit the catalog", path, is_wrong_content=True)


def _dangling_keys(catalog: Catalog) -> Iterator[Damage]:
    for key in foreign_keys():
        for row in catalog.query(statement("fold", "dangling_keys", **_relations_of(key))):
            location, value = f"{key.table}.{key.column}", str(row["key"])
            yield Damage(f"a key has no row in {key.parent}", location, "an existing id", value)


def _relations_of(key: ForeignKey) -> dict[str, str]:
    """Return the fields of a foreign key, with the names of both tables in SQL."""
    tables = declared_tables()
    return {**asdict(key), "table": tables[key.table].relation, "parent": tables[key.parent].relation}


def _view_damages(catalog: Catalog) -> Iterator[Damage]:
    for view in (*(view.relation for view in views().values()), *(f"{name}('')" for name in macros())):
        try:
            catalog.select(statement("fold", "count_view", view=view))
        except errors.QueryError as err:
            yield Damage("the view cannot be queried", view, got=str(err))


def _contradictions(catalog: Catalog) -> Iterator[Damage]:
    """Find stored values that contradict each other: p-values, intervals, power, labels, differences and answers."""
    for row in catalog.query(statement("fold", "contradictions")):
        got = f"{counted(row['n_rows'], 'row')}, such as {row['example']}"
        yield Damage(f"values contradict each other: {row['problem']}", row["location"], "no such row", got)


def marked_contradictions(store: Store) -> Iterator[str]:
    """Yield a note if intervals that do not invert their test disagree with it, as their rows say."""
    with Catalog.open(store) as catalog:
        catalog.fold()
        ((n_comparisons, n_aggregates),) = catalog.select(statement("fold", "marked_contradictions")).rows
    if n_comparisons or n_aggregates:
        rows = f"{counted(n_comparisons, 'comparison')} and {counted(n_aggregates, 'group')} of languages"
        yield f"interval and p-value disagree in {rows}, and interval_contradicts_p says so; the p-value decides"


@dataclass(frozen=True)
class Repair:
    """Result of a repair."""

    set_aside: tuple[str, ...]
    """Paths of the records that are in quarantine now."""
    rebuilt: bool
    """Whether the catalog was filled again."""
    recipes: tuple[str, ...]
    """Names of the recipes in the store, one or more of which have to run again."""


def repair(store: Store, damages: Iterable[Damage]) -> Repair:
    """Set aside the records of damages, and fill the catalog again if it differs.

    Args:
        store: opened with `quarantine=True`.
        damages: what `check` found in this store.
    """
    damages = list(damages)
    before = set(store.record_names())
    wrong = {damage.location for damage in damages if damage.is_wrong_content}
    records = list(_with_masks(store, wrong))  # reading all records moves the unreadable ones
    for record in records:
        store.quarantine(record)
    quarantine_dependents(store, records)
    quarantine_records_of(store, {damage.location for damage in damages})
    must_rebuild = any(damage.problem.startswith(CATALOG_DIFFERS) for damage in damages)
    if must_rebuild:
        rebuild(store)
    else:
        with Catalog.open(store) as catalog:
            catalog.fold()
    set_aside = _paths(before - set(store.record_names()))
    recipes = sorted({as_str(record.parameters["name"]) for record in store.records("recipes")})
    return Repair(tuple(set_aside), must_rebuild, tuple(recipes))


def _with_masks(store: Store, wrong: Collection[str]) -> Iterator[Record]:
    """Yield the records of some paths; for a variant also its composition, orderings and the blocks of these."""
    ids = {path.rpartition("/")[2].removesuffix(".json") for path in wrong}
    compositions = [record for record in store.records("mask_compositions") if record.parents["variant"] in ids]
    composed_from = {record.parent("ordering") for record in compositions}
    orderings = {
        record.id
        for record in store.records("masks")
        if record.id in composed_from or any(row["variant_id"] in ids for row in record.rows["ordering_variants"])
    }
    with_masks = {*orderings, *(record.id for record in compositions)}
    for record in store.records():
        is_block = record.kind == "mask_blocks" and record.parameters["ordering"] in {*ids, *orderings}
        if record.path in wrong or record.id in with_masks or is_block:
            yield record


def _paths(keys: Iterable[RecordKey]) -> Iterator[str]:
    return (record_path(*key) for key in sorted(keys))
