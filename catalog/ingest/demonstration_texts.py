"""The very texts of demonstrations, out of the artefact of their set, as rows of a catalog."""

import logging
from dataclasses import replace
from typing import Any

from mlprune.errors import DamagedArtefactError
from mlprune.store.records import Record
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

KIND, TABLE = "demonstration_sets", "demonstrations"
COLUMNS = ("demonstration", "kind", "token_ids", "sentence_ids", "text")


def with_texts(record: Record, store: Store) -> Record:
    """A record with a row for each of its demonstrations; any other record as it is.

    Where the artefact is missing or damaged the texts are left out, with a warning: `catalog check` names it.
    """
    if record.kind != KIND or not record.artefacts:
        return record
    try:
        columns = store.read_table(record.artefacts[0], COLUMNS)
    except (DamagedArtefactError, OSError, ValueError, KeyError) as err:
        logger.warning("the texts of %s stay out of the catalog: %s", record.path, err)
        return record
    return replace(record, rows={**record.rows, TABLE: _rows(record.id, columns)})


def _rows(set_id: str, columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
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
