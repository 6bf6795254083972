"""What makes variants without whole blocks."""

from collections.abc import Mapping

VARIANTS: Mapping[str, str] = {"blocks": "mlprune.capabilities.blocks.removal:BlockVariants"}
"""Structure -> class that plans and makes its variants."""
