"""Fields and behaviour that most kinds of variant share."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from mlprune.json_values import JsonObject
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.steps.job import Identity, ModelRef

SeedSource = Literal["demonstrations", "score", "resamples"]
"""What is drawn again with another seed: the sentences, the random score, or a bootstrap of the demonstrations."""
SetLink = tuple[str, str, float]
"""Id of a demonstration set that a variant was made from, its role, and its weight."""


@dataclass(frozen=True)
class BaseVariant:
    """Fields of every variant, and the behaviour that most kinds of variant share; a kind overrides what differs."""

    identity: Identity
    model: ModelRef
    is_candidate: ClassVar[bool] = True
    """Whether it can be chosen as the best pruned model on dev."""
    is_dense: ClassVar[bool] = False
    """Whether it is its base model without changes."""
    has_all_tokens: ClassVar[bool] = True
    """Whether it has all tokens of its base model."""
    has_known_structure: ClassVar[bool] = True
    """Whether it is known from which comparison groups weights were removed."""

    @property
    def id(self) -> str:
        """The variant's id."""
        return self.identity.id

    @property
    def lacks_blocks(self) -> bool:
        """Whether it lacks whole blocks, and so has no masks."""
        return False

    @property
    def has_new_values(self) -> bool:
        """Whether weights or biases can have new values."""
        return False

    @property
    def unquantised(self) -> "BaseVariant":
        """The parent of a quantised variant; any other variant itself."""
        return self

    @property
    def rounding(self) -> Quantisation | None:
        """How its weights are rounded; None if they are not."""
        return None

    @property
    def parent_links(self) -> tuple[tuple[str, str], ...]:
        """(id, role) of the variants whose masks it combines."""
        return ()

    @property
    def controlled_as(self) -> Hashable:
        """Value of `control_of` of its controls; None if it has none."""
        return None

    @property
    def control_of(self) -> Hashable:
        """Value of `controlled_as` of the variants that it is a control of; None if it is not a control."""
        return None

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the columns of the catalog that only this kind of variant has, or in which it differs.

        Args:
            achieved: share of the weights that is removed.
        """
        return {}

    def own_label(self, parents: Sequence[str]) -> str | None:
        """Return a short description; None if its columns describe it.

        Args:
            parents: labels of its parents.
        """
        return None

    def set_links(self) -> Iterator[SetLink]:
        """Yield the demonstration sets that it was made from."""
        yield from ()

    def own_seed(self, source: SeedSource) -> int | None:
        """Return the seed of a source, except of the sentences of its sets; None if it has none."""
        return None

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return everything that determines the variant except the seed of a source.

        Args:
            sets: what determines its sets, and `parents` its parents, except the seed.
        """
        raise AssertionError("only variants with seeds are grouped by them")


def control_pairs(variants: Iterable[BaseVariant]) -> Iterator[tuple[str, str]]:
    """Yield (id, id of control) for every variant and each of its controls."""
    variants = list(variants)
    controls: dict[Hashable, list[str]] = defaultdict(list)
    for variant in variants:
        if variant.control_of is not None:
            controls[variant.control_of].append(variant.id)
    for variant in variants:
        for control in controls.get(variant.controlled_as, ()):
            yield variant.id, control
