"""The kind of records that sub-layers add, and what makes variants without whole blocks or sub-layers."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

SUBLAYER_INFLUENCE = RecordKind(
    1,
    "demonstration set whose hidden states are compared before and after every sub-layer",
    tables={"sublayer_influence": "sublayer_influence_id"},
)
"""Kind of the influence of sub-layers, from which variants are made."""
VARIANTS: Mapping[str, str] = {
    "blocks": "mlprune.capabilities.blocks.removal:BlockVariants",
    "sublayers": "mlprune.capabilities.blocks.sublayer_masks:SublayerVariants",
}
"""Structure -> class that plans and makes its variants."""
