"""Check that a record adds only rows to the catalog that its kind and id allow."""

from collections import Counter
from collections.abc import Iterator

from catalog.ingest.table_files import declared_tables
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record


def row_problems(record: Record) -> Iterator[str]:
    """Yield what is wrong with the rows of a record, one line each: foreign tables or ids, duplicates.

    Whether the values fit their columns is found when the record is folded.
    """
    kind = RECORD_KINDS.get(record.kind)
    if kind is None:
        yield f"the kind {record.kind} is unknown"
        return
    for name, rows in record.rows.items():
        if name not in kind.tables:
            yield f"its kind has no rows in the table {name}"
            continue
        table = declared_tables()[name]
        own = kind.tables[name]
        if own is not None and any(row.get(own) != record.id for row in rows):
            yield f"a row of {name} belongs to another record"
        keys = Counter(tuple(str(row.get(column)) for column in table.primary_key) for row in rows)
        if duplicates := [key for key, n in keys.items() if n > 1]:
            yield f"the table {name} has several rows for {', '.join(duplicates[0])}"
