"""Made-up variants and the orderings with their files."""

from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.records import made_up_record

CURRENT = 3
"""Version of the steps that write variants and orderings."""


def write_variant(store: Store, name: str, *, step_version: int = CURRENT, **parents: str) -> Record:
    """Write the record of a variant."""
    record = made_up_record("variants", {"name": name}, parents=parents, step_version=step_version)
    store.write_record(record)
    return record


def write_ordering(store: Store, *variants: Record, folder: str = "", **parents: str) -> Record:
    """Write an ordering of variants, with one file of masks and one of weights, of 5 bytes each.

    Args:
        folder: of the files; by default the id of the first variant.
    """
    name = folder or variants[0].id
    artefacts = [store.write_bytes(f"{kind}/{name}/block-000.parquet", b"12345") for kind in ("masks", "weights")]
    rows = {"ordering_variants": [{"variant_id": variant.id} for variant in variants]}
    parameters = {"of": [variant.id for variant in variants]}
    record = made_up_record("masks", parameters, parents=parents, artefacts=artefacts, rows=rows, step_version=CURRENT)
    store.write_record(record)
    return record
