"""Read the texts of demonstrations from the artefact of their set, and add them to the rows of its record."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from catalog.results import Value
from mlprune.errors import DamagedArtefactError
from mlprune.json_values import JsonObject
from mlprune.store.records import Record
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

KIND, TABLE = "demonstration_sets", "demonstrations"
COLUMNS = ("demonstration", "kind", "token_ids", "sentence_ids", "text")


def with_texts(record: Record, store: Store) -> Record:
    """Return the record of a demonstration set with a row per demonstration, and any other record unchanged.

    If the artefact is missing or damaged the texts are skipped, with a warning; `catalog check` reports the artefact.
    """
    if record.kind != KIND or not record.artefacts:
        return record
    try:
        columns = store.read_table(record.artefacts[0], COLUMNS)
    except (DamagedArtefactError, OSError, ValueError, KeyError) as err:
        logger.warning("the catalog lacks the texts of %s: %s", record.path, err)
        return record
    return replace(record, rows={**record.rows, TABLE: _rows(record.id, columns)})


def without_texts(record: Record) -> Record:
    """Return a record of `with_texts` as it is stored."""
    if record.kind != KIND:
        return record
    return replace(record, rows={table: rows for table, rows in record.rows.items() if table != TABLE})


def _rows(set_id: str, columns: Mapping[str, Sequence[Value]]) -> list[JsonObject]:
    return [
        {
            "demonstration_set_id": set_id,
            "demonstration": number,
            "kind": kind,
            "n_tokens": len(tokens),
            "sentence_ids": list(sentences),
            "text": text,
        }
        for number, kind, tokens, sentences, text in zip(*(columns[name] for name in COLUMNS), strict=True)
    ]
