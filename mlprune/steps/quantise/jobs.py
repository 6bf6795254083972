"""Record quantised variants. Their masks are those of their parents; weights are rounded when a variant is applied."""

from dataclasses import dataclass
from typing import ClassVar

from mlprune.steps.job import ChainLoader, RecordKey
from mlprune.steps.prune.variant import QuantisedVariant
from mlprune.steps.quantise.rows import quantised_rows
from mlprune.steps.small_job import SmallJob
from mlprune.store.store import Store


@dataclass(frozen=True)
class QuantiseJob(SmallJob):
    """Record a variant that has the masks of its parent and rounded weights."""

    step: ClassVar[str] = "prune"
    variant: QuantisedVariant

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The parent."""
        return (self.variant.parent.identity.key,)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the record."""
        parent = store.require(*self.variant.parent.identity.key)
        rows = quantised_rows(self.variant.id, self.variant.quantisation, parent)
        store.write_record(self.identity.record(rows=rows))
