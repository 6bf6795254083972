"""Quantisation of variants: what they are without it, and which of them have equal masks or one quantisation."""

from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.steps.prune.variant import DenseVariant, QuantisedVariant, VariantSpec


def unquantised(variant: VariantSpec) -> VariantSpec:
    """Return the parent of a quantised variant, and any other variant itself."""
    return variant.parent if isinstance(variant, QuantisedVariant) else variant


def has_same_masks(a: VariantSpec, b: VariantSpec) -> bool:
    """Whether two variants differ in nothing but their quantisation."""
    return unquantised(a).id == unquantised(b).id


def is_quantised_dense(a: VariantSpec, b: VariantSpec) -> bool:
    """Whether two variants have one quantisation, and one of them removes nothing."""
    quantisation = quantisation_of(a)
    has_one = quantisation is not None and quantisation == quantisation_of(b)
    return has_one and any(isinstance(unquantised(one), DenseVariant) for one in (a, b))


def quantisation_of(variant: VariantSpec) -> Quantisation | None:
    """Return how the weights of a variant are quantised; None if they are not."""
    return variant.quantisation if isinstance(variant, QuantisedVariant) else None
