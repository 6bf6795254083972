"""Quantised variants: plan them and record them. Weights are rounded when a variant is applied."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from mlprune.capabilities.capability import Planned, Variants
from mlprune.capabilities.quantisation.variant import QuantisedVariant, quantised_columns
from mlprune.errors import RecipeError
from mlprune.hashing import without_defaults
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.job import ChainLoader, RecordKey, SmallJob, make_identity
from mlprune.steps.variants.planned_variant import PlannedVariant, with_derived
from mlprune.steps.variants.variant import UNQUANTISED, of_kind, rows_of_parent
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
        rows = rows_of_parent(self.variant.id, parent, role=UNQUANTISED, columns=columns)
        store.write_record(self.identity.record(rows=rows))


def add_quantised(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants and, for entries with `bits`, the quantised ones; see `with_derived`.

    Raises:
        RecipeError: a variant lacks whole blocks.
    """
    return with_derived(variants, lambda entry, _: bool(entry.bits), _quantised)


def quantise_jobs(planned: Planned) -> Iterator[QuantiseJob]:
    """Yield the job of each quantised variant."""
    for spec in of_kind(QuantisedVariant, (variant.spec for variant in planned.variants.values())):
        yield QuantiseJob(spec.identity, spec)


def _quantised(entry: VariantConfig, parent: PlannedVariant) -> Iterator[PlannedVariant]:
    assert entry.bits is not None, "the entry has bits"
    if parent.spec.lacks_blocks:
        message = "the weights of a variant without whole blocks cannot be rounded"
        raise RecipeError(message, variant=entry.name, key="bits", expected="no bits", got=entry.bits)
    quantisation = Quantisation(entry.bits, entry.quantisation_group)
    parents = {"base_model": parent.spec.model.base_model_id, UNQUANTISED: parent.id}
    identity = make_identity("variants", without_defaults(quantisation), parents=parents)
    spec = QuantisedVariant(identity, parent.spec.model, parent.spec, quantisation)
    yield PlannedVariant(spec, parents=(parent,))
