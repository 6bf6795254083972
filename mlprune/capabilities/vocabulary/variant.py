"""Variants with fewer tokens as plain values."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlprune.capabilities.vocabulary.keys import VOCABULARY
from mlprune.json_values import JsonObject, JsonValue, Row
from mlprune.steps.variants.base_variant import SeedSource
from mlprune.steps.variants.variant import DerivedVariant, variant_row
from mlprune.steps.variants.variant_text import parameter_words


@dataclass(frozen=True)
class VocabularyVariant(DerivedVariant):
    """Another variant, or the dense model, with fewer tokens. It has the masks and weights of that variant."""

    settings: tuple[tuple[str, JsonValue], ...]
    """What is kept, without defaults."""
    is_candidate: ClassVar[bool] = False
    has_all_tokens: ClassVar[bool] = False

    @property
    def weights_changed(self) -> bool:
        """Whether its parent has changed weights."""
        return self.parent.weights_changed

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the row of its parent, with the tokens that it keeps."""
        own: Row = {
            "variant_id": self.id,
            "intervention": VOCABULARY,
            "intervention_parameters": dict(self.settings),
        }
        return variant_row(self.parent, achieved=achieved) | own

    def own_label(self, parents: Sequence[str]) -> str:
        """Return the variant with all tokens, unless that is the dense model, and what is kept."""
        of_parent = () if self.parent.is_dense else (f"{parents[0]},",)
        return " ".join((*of_parent, VOCABULARY, *parameter_words(dict(self.settings))))

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return the kept tokens and what determines its parent."""
        return self.settings, *parents
