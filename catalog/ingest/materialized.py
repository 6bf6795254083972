"""Tables that follow from other tables and are kept because every question needs them.

What they hold is what their statements in `sql/kept/` compute: a fold brings them up to date after its last batch.
Until then the catalog counts as not current, so that a fold that breaks off is finished by the next one. The table that
says so, `fold_state`, also says which listing of records was folded last.
"""

from collections.abc import Mapping, Set
from typing import Final

from catalog.ingest.arrow_rows import arrow_rows
from catalog.ingest.schema import Connection, transaction
from catalog.sql_files import statement

READS: Final[Mapping[str, Set[str]]] = {
    "variant_descriptions": {
        "variants",
        "variant_demonstrations",
        "variant_parents",
        "demonstration_sets",
        "demonstration_set_parts",
        "names",
    },
    "dense_values": {"metrics", "variants"},
    "repeated_comparisons": {"comparisons"},
    "outdone_evaluations": {"evaluations"},
}
"""Kept table -> tables it follows from, in an order in which each reads only earlier ones."""
FOLDED = "folded_ids"
"""What the ids of rows that came just now are called."""
CHANGE_KEY = {"comparisons": "comparison_id", "evaluations": "evaluation_id"}
"""Table -> column by which kept tables are told of its new rows."""


def is_kept_current(connection: Connection) -> bool:
    """Whether the kept tables are up to date with the others."""
    return noted(connection, "kept") == "current"


def outdate_kept(connection: Connection) -> None:
    """Say, in the transaction that adds rows, that the kept tables have to follow."""
    connection.execute(statement("fold", "forget_state"), {"name": "kept"})


def refresh(connection: Connection, *, touched: Set[str], ids: Set[str]) -> None:
    """Bring the kept tables up to date.

    Args:
        touched: tables that rows were added to since they were current.
        ids: of rows added since then, as `CHANGE_KEY` has them.
    """
    folded = arrow_rows([("id", "VARCHAR")], [{"id": one} for one in sorted(ids)])
    with transaction(connection):
        connection.register(FOLDED, folded)
        for name, reads in READS.items():
            if reads & touched:
                connection.execute(statement("kept", name, folded=FOLDED))
        connection.unregister(FOLDED)
        note(connection, "kept", "current")


def refresh_all(connection: Connection) -> None:
    """Bring the kept tables up to date, whatever was added."""
    found = connection.execute(statement("fold", "told_ids")).fetchall()
    everything = frozenset(table for reads in READS.values() for table in reads)
    refresh(connection, touched=everything, ids={one for (one,) in found})


def noted(connection: Connection, name: str) -> str | None:
    """What an earlier fold has noted under a name."""
    found = connection.execute(statement("fold", "state"), {"name": name}).fetchone()
    return str(found[0]) if found else None


def note(connection: Connection, name: str, value: str) -> None:
    """Note something for later folds."""
    connection.execute(statement("fold", "note_state"), {"name": name, "value": value})
