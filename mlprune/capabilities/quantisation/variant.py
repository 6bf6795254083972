"""Quantised variants as plain values."""

from collections.abc import Hashable, Sequence
from dataclasses import astuple, dataclass

from mlprune.json_values import JsonObject, Row
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.steps.variants.base_variant import SeedSource
from mlprune.steps.variants.variant import DerivedVariant, VariantSpec, variant_row
from mlprune.steps.variants.variant_text import quantisation_words


def quantised_columns(variant_id: str, quantisation: Quantisation) -> Row:
    """Return the columns in which a quantised variant differs from its parent."""
    return {
        "variant_id": variant_id,
        "weights_changed": True,
        "bits": quantisation.bits,
        "quantisation_group": quantisation.group,
    }


@dataclass(frozen=True)
class QuantisedVariant(DerivedVariant):
    """Another variant whose weights are rounded to few levels."""

    quantisation: Quantisation

    @property
    def unquantised(self) -> "VariantSpec":
        """Its parent."""
        return self.parent

    @property
    def rounding(self) -> Quantisation:
        """How its weights are rounded."""
        return self.quantisation

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the row of its parent, with the bits of a weight."""
        return variant_row(self.parent, achieved=achieved) | quantised_columns(self.id, self.quantisation)

    def own_label(self, parents: Sequence[str]) -> str:
        """Return the label of its parent, and the bits of a weight."""
        return " ".join((*parents, *quantisation_words(*astuple(self.quantisation))))

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return the quantisation and what determines its parent."""
        return self.quantisation, *parents
