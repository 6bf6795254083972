"""Quantised variants as plain values."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import astuple, dataclass

from mlprune.capabilities.quantisation.settings import CodeSettings
from mlprune.hashing import without_defaults
from mlprune.json_values import JsonObject, Row
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.steps.variants.base_variant import SeedSource, SetLink
from mlprune.steps.variants.derived_blocks_job import VariantFromSets
from mlprune.steps.variants.variant import DerivedVariant, VariantSpec, variant_row
from mlprune.steps.variants.variant_text import parameter_words, quantisation_words


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


@dataclass(frozen=True)
class CodedVariant(VariantFromSets):
    """Another variant whose weights are rounded to codes, which are stored."""

    settings: CodeSettings
    set_ids: tuple[str, ...]
    """The demonstration sets that GPTQ reads; none for rounding to nearest."""
    set_labels: tuple[str, ...]
    """Their labels; never part of an id."""

    @property
    def unquantised(self) -> VariantSpec:
        """Its parent."""
        return self.parent

    @property
    def rounding(self) -> Quantisation:
        """The bits and the group of its weights, 0 for a row, in which comparable variants agree."""
        return Quantisation(self.settings.bits, self.settings.group_size or 0)

    @property
    def has_new_values(self) -> bool:
        """Return True: its masks are those of its parent, and cannot be combined instead of them."""
        return True

    @property
    def shares(self) -> tuple[float, ...]:
        """Weights of the sets, which sum to 1; none without sets."""
        return self.settings.shares or tuple(1 / len(self.set_ids) for _ in self.set_ids)

    def set_links(self) -> Iterator[SetLink]:
        """Yield the sets that GPTQ reads."""
        yield from ((set_id, "quantisation", share) for set_id, share in zip(self.set_ids, self.shares, strict=True))

    @property
    def new_columns(self) -> JsonObject:
        """The columns in which it differs from its parent."""
        return {
            "variant_id": self.id,
            "weights_changed": True,
            "bits": self.settings.bits,
            "quantisation_group": self.settings.group_size,
            "quantisation": without_defaults(self.settings, omit=("bits", "group", "shares")),
        }

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the row of its parent, with the bits of a weight and the settings."""
        return {**variant_row(self.parent, achieved=achieved), **self.new_columns}

    def own_label(self, parents: Sequence[str]) -> str:
        """Return the label of its parent, the bits, the method, the sets that are read, and the other settings."""
        size = self.settings.group_size
        bits = (f"{self.settings.bits} bits in rows",) if size is None else quantisation_words(self.settings.bits, size)
        sets = ("on", " + ".join(self.set_labels)) if self.set_labels else ()
        settings = parameter_words(without_defaults(self.settings, omit=("bits", "group", "method")))
        return " ".join((*parents, *bits, self.settings.method, *sets, *settings))

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return the settings, and what determines the sets and the parent."""
        return self.settings, sets, *parents
