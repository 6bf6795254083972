"""Made-up records whose ids follow from their inputs."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from mlprune.hashing import canonical_json
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Artefact, Record, identity

EXAMPLE_INPUTS: dict[str, Any] = {
    "step_version": 2,
    "parameters": {"score": "wanda", "sparsity": 0.3, "scale": 1e-05},
    "parents": {"base_model": "ff"},
    "contents": {"fr": "aa"},
}
EXAMPLE_RECORD = Record(
    kind="masks",
    id=identity("masks", **EXAMPLE_INPUTS),
    **EXAMPLE_INPUTS,
    artefacts=(Artefact("masks/x.parquet", 12, "b" * 64, 3), Artefact("masks/y.parquet", 0, "c" * 64)),
    rows={
        "variants": [{"variant_id": "x", "score": None, "name": "é\u2028\n"}],
        "metrics": [{"value": 0.1 + 0.2}, {"value": 1e-07}],
        "empty": [],
    },
)


def made_up_record(
    kind: str = "variants",
    parameters: Mapping[str, Any] | None = None,
    *,
    parents: Mapping[str, Any] | None = None,
    artefacts: Sequence[Artefact] = (),
    rows: Mapping[str, list[dict[str, Any]]] | None = None,
    step_version: int | None = None,
) -> Record:
    """Return a record with the id that its kind, version, parameters and parents give it.

    Args:
        step_version: the first one whose rows the catalog shows if it is left out.
    """
    version = step_version or (RECORD_KINDS[kind].shown_since if kind in RECORD_KINDS else 1)
    inputs = {"step_version": version, "parameters": parameters or {}, "parents": parents or {}}
    record_id = identity(kind, **inputs)
    return Record(kind, record_id, **inputs, artefacts=tuple(artefacts), rows=rows or {})


def record_text(fields: Mapping[str, Any]) -> bytes:
    """Return the text of a record file with some fields and the checksum that belongs to them, whatever they are."""
    body = canonical_json({name: value for name, value in fields.items() if name != "checksum"})
    checksum = hashlib.sha256(body.encode()).hexdigest()
    return f'{{"checksum":"{checksum}",{body[1:]}\n'.encode()
