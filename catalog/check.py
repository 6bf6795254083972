"""Check every record, artefact, foreign key and view of a store.

The check moves no record. It folds the catalog as any query does, and compares the result with a
catalog that is built from the same records alone. Runs may write to the store meanwhile: what they add after the check
began is not examined, and no damage.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass

from catalog.ingest.record_rows import row_problems
from catalog.ingest.table_files import foreign_keys
from catalog.ingest.view_files import macros, views
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.counted import counted
from mlprune.errors import DamagedArtefactError, DamagedRecordError, QueryError, RetiredArtefactError
from mlprune.store.parquet import n_rows_of
from mlprune.store.record_kinds import ARTEFACT_FOLDERS
from mlprune.store.records import Artefact, Record, RecordKey, one_line, record_path
from mlprune.store.store import Store

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
            damages += [Damage(problem, record.path, is_wrong_content=True) for problem in row_problems(record)]
    damaged = {damage.location for damage in damages}
    intact = [name for name in names if record_path(*name) not in damaged]
    next_step = "run catalog rebuild" if len(intact) == len(names) else "first run the recipes of the damaged records"
    damages += _catalog_damages(store, intact, next_step=next_step)
    referenced = {artefact.path for artefact in artefacts}
    notes = [path for path in files if path not in referenced]
    return damages, [*notes, *_processor_notes(store)]


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
    except DamagedRecordError as err:
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
    except RetiredArtefactError:
        return
    except DamagedArtefactError as err:
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
    and a run may move a record to the quarantine. What only one of two folds shows is therefore no damage.
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
        yield from _view_damages(catalog)
        actual = catalog.fingerprints()
    with Catalog.in_memory(_Listed(store, folded)) as fresh:
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
        for row in catalog.query(statement("fold", "dangling_keys", **asdict(key))):
            location, value = f"{key.table}.{key.column}", str(row["key"])
            yield Damage(f"a key has no row in {key.parent}", location, "an existing id", value)


def _view_damages(catalog: Catalog) -> Iterator[Damage]:
    for view in (*views(), *(f"{name}('')" for name in macros())):
        try:
            catalog.select(statement("fold", "count_view", view=view))
        except QueryError as err:
            yield Damage("the view cannot be queried", view, got=str(err))
