"""`catalog check`: is every record, artefact, key and view of a store sound?

Nothing is repaired here, and no record is moved. The catalog is folded as for any question, and compared with one that
is built from the records.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from catalog.ingest.table_files import foreign_keys
from catalog.ingest.view_files import macros, views
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import DamagedArtefactError, DamagedRecordError, QueryError
from mlprune.store.parquet import columns_of
from mlprune.store.record_kinds import ARTEFACT_FOLDERS
from mlprune.store.records import Artefact, Record, one_line, record_path
from mlprune.store.store import Store


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
            for artefact in record.artefacts:
                named.add(artefact.path)
                damages += _artefact_damages(store, artefact)
    damaged = {damage.where for damage in damages}
    sound = [name for name in names if record_path(*name) not in damaged]
    next_step = "run catalog rebuild" if len(sound) == len(names) else "first run the recipes of the damaged records"
    damages += _catalog_damages(store, sound, next_step=next_step)
    notes = [path for folder in ARTEFACT_FOLDERS for path in store.list(folder) if path not in named]
    return damages, notes


def _read(store: Store, kind: str, record_id: str, *, damages: list[Damage]) -> Record | None:
    """A record, left where it is even if it cannot be read."""
    try:
        return store.peek_record(kind, record_id)
    except DamagedRecordError as err:
        damages.append(Damage(f"the record is damaged: {err.context['reason']}", record_path(kind, record_id)))
    except OSError as err:
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
    lines = {one_line(text) for text in (*texts, data) if text is not None}
    if len(lines) > 1:
        yield Damage(
            "the record differs from the one of its name in a segment", record_path(kind, record_id), places[0]
        )


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


def _catalog_damages(store: Store, names: Iterable[tuple[str, str]], *, next_step: str) -> Iterator[Damage]:
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        catalog.fold()
        yield from _not_folded(catalog, names)
        yield from _dangling_keys(catalog)
        yield from _view_damages(catalog)
        ours, theirs = catalog.fingerprints(), fresh.fingerprints()
        for table in sorted(set(ours) | set(theirs)):
            if ours.get(table) != theirs.get(table):
                counts = [str(found.get(table, (0, 0))[0]) + " rows" for found in (theirs, ours)]
                yield Damage(f"the table differs from one made anew: {next_step}", table, *counts)


def _not_folded(catalog: Catalog, names: Iterable[tuple[str, str]]) -> Iterator[Damage]:
    folded = {(row[0], row[1]) for row in catalog.select(statement("fold", "folded_records")).rows}
    for kind, record_id in names:
        if (kind, record_id) not in folded:
            yield Damage("the record does not fit the catalog", record_path(kind, record_id))


def _dangling_keys(catalog: Catalog) -> Iterator[Damage]:
    for key in foreign_keys():
        for row in catalog.query(statement("fold", "dangling_keys", **asdict(key))):
            where, value = f"{key.table}.{key.column}", str(row["key"])
            yield Damage(f"a key has no row in {key.parent}", where, "a known id", value)


def _view_damages(catalog: Catalog) -> Iterator[Damage]:
    for view in (*views(), *(f"{name}('')" for name in macros())):
        try:
            catalog.select(statement("fold", "count_view", view=view))
        except QueryError as err:
            yield Damage("the view cannot be queried", view, got=str(err))
