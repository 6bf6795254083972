"""Quantised variants: plan them and record them. Weights are rounded when a variant is applied."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from mlprune.hashing import without_defaults
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.recipe import BaselineConfig, VariantConfig
from mlprune.steps.job import ChainLoader, RecordKey, SmallJob, make_identity
from mlprune.steps.prune.requested_variants import with_entry
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant import UNQUANTISED, QuantisedVariant, derived_rows, of_kind, quantised_columns
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
        columns = quantised_columns(self.variant.id, self.variant.quantisation)
        rows = derived_rows(self.variant.id, columns, parent, role=UNQUANTISED)
        store.write_record(self.identity.record(rows=rows))


def add_quantised(planned: Mapping[str, PlannedVariant]) -> dict[str, PlannedVariant]:
    """Return the planned variants and the quantised ones.

    An entry with `bits` names only quantised variants. Their parents stay in the plan, because masks are read and
    results are compared with them.
    """
    together = {key: replace(variant, entries=_entries(variant, with_bits=False)) for key, variant in planned.items()}
    for variant in planned.values():
        for entry in _entries(variant, with_bits=True):
            assert isinstance(entry, VariantConfig), "only entries of variants have bits"
            together = with_entry(together, entry, [_quantised(together[variant.id], entry)])
    return together


def quantise_jobs(variants: Iterable[PlannedVariant]) -> Iterator[QuantiseJob]:
    """Yield the job of each quantised variant."""
    for spec in of_kind(QuantisedVariant, (variant.spec for variant in variants)):
        yield QuantiseJob(spec.identity, spec)


def _entries(variant: PlannedVariant, *, with_bits: bool) -> tuple[VariantConfig | BaselineConfig, ...]:
    return tuple(
        entry for entry in variant.entries if (isinstance(entry, VariantConfig) and bool(entry.bits)) == with_bits
    )


def _quantised(parent: PlannedVariant, entry: VariantConfig) -> PlannedVariant:
    assert entry.bits is not None, "the entry has bits"
    quantisation = Quantisation(entry.bits, entry.quantisation_group)
    parents = {"base_model": parent.spec.model.base_model_id, UNQUANTISED: parent.id}
    identity = make_identity("variants", without_defaults(quantisation), parents=parents)
    spec = QuantisedVariant(identity, parent.spec.model, parent.spec, quantisation)
    return PlannedVariant(spec, parents=(parent,))
