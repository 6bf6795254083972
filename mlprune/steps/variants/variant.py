"""Variants as plain values: dense, combined, of a capability, derived from others, and all."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from mlprune.hashing import with_defaults
from mlprune.json_values import JsonObject, JsonValue, Row
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.steps.job import Identity, ModelRef, make_identity
from mlprune.steps.variants.base_variant import BaseVariant, SeedSource
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.store.records import Record
from mlprune.vocabulary import CombinationName, PropagationName

UNQUANTISED = "unquantised"
"""Role of the parent of a quantised variant."""
UNCODED = "uncoded"
"""Role in an id of the parent of a variant whose rounded weights are stored as codes; its rows say `UNQUANTISED`."""
ALL_TOKENS = "all_tokens"
"""Role of the parent of a variant with a smaller vocabulary: a variant with the same weights and all tokens."""
UNRECONSTRUCTED = "unreconstructed"
"""Role of the parent of a reconstructed variant."""
UNRECOVERED = "unrecovered"
"""Role of the parent of a recovered variant."""
ROLES_OF_PARENT = (ALL_TOKENS, UNQUANTISED, UNCODED, UNRECOVERED, UNRECONSTRUCTED)
"""Roles of the parent of a variant that is derived from another one, the last derivation first."""
COLUMNS = (
    "demonstration_set_id",
    "contrast_set_id",
    "score",
    "score_parameters",
    "structure",
    "propagation",
    "intervention",
    "intervention_parameters",
    "seed",
    "removes",
    "schedule",
    "schedule_parameters",
    "scope",
    "profile",
    "token_scope",
    "aggregation",
    "aggregation_parameters",
    "n_demonstrations",
    "resample_seed",
    "combination",
    "mask_sha256",
)
"""Columns of the catalog's table `variants` that not every kind of variant has."""
AnyVariant = TypeVar("AnyVariant", bound=BaseVariant)


def quantisation_in(variant: Record) -> Quantisation | None:
    """Return how the weights of a variant are quantised, from its record; None if they are not."""
    return with_defaults(Quantisation, variant.parameters) if UNQUANTISED in variant.parents else None


def rows_of_parent(variant_id: str, parent: Record, *, role: str, columns: Row) -> dict[str, list[Row]]:
    """Return table -> rows of a variant that has the masks of its parent.

    Everything else that the catalog says of the parent is also true of the variant.

    Args:
        parent: its record.
        role: of the parent.
        columns: in which the row of the variant differs from that of its parent.
    """
    own: Row = {"variant_id": variant_id}
    rows: dict[str, list[Row]] = {table: [{**row, **own} for row in rows] for table, rows in parent.rows.items()}
    rows["variants"] = [{**row, **columns} for row in rows["variants"]]
    links = [row for row in rows.get("variant_parents", []) if row["role"] != UNQUANTISED]
    rows["variant_parents"] = [*links, {**own, "parent_variant_id": parent.id, "role": role}]
    return rows


@dataclass(frozen=True)
class DenseVariant(BaseVariant):
    """A base model without changes."""

    is_dense: ClassVar[bool] = True
    sparsity: ClassVar[float] = 0.0
    structure: ClassVar[str | None] = None
    propagation: ClassVar[PropagationName | None] = None
    weights_changed: ClassVar[bool] = False

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return its id: nothing of it depends on a seed."""
        return self.id


@dataclass(frozen=True)
class CombinedVariant(BaseVariant):
    """A base model with the masks of other variants combined."""

    sparsity: float
    """The sparsity that the recipe gives its parents."""
    combination: CombinationName
    parent_ids: tuple[str, ...]
    """Variants that are combined, in order."""
    shared: tuple[tuple[str, JsonValue], ...] = ()
    """Columns and their values in which all parents agree; None where they differ."""
    weights_changed: ClassVar[bool] = False

    @property
    def structure(self) -> JsonValue:
        """The comparison group of its parents, if they agree."""
        return dict(self.shared).get("structure")

    @property
    def propagation(self) -> JsonValue:
        """The propagation of its parents, if they agree."""
        return dict(self.shared).get("propagation")

    @property
    def parent_links(self) -> tuple[tuple[str, str], ...]:
        """Its parents, numbered in their order."""
        return tuple((parent, f"parent {number}") for number, parent in enumerate(self.parent_ids, start=1))

    def own_label(self, parents: Sequence[str]) -> str:
        """Return the combination and its parents."""
        return f"{self.combination.replace('_', ' ')} of {'; '.join(parents)}"

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return the combination and what determines its parents."""
        return self.combination, parents

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the combination, and what its parents share."""
        return {"sparsity": achieved, "combination": self.combination, **dict(self.shared)}


@dataclass(frozen=True)
class CapabilityVariant(BaseVariant, ABC):
    """A base model that a capability prunes or changes at run time, by other settings than scored variants."""

    propagation: ClassVar[PropagationName | None] = None

    @property
    @abstractmethod
    def sparsity(self) -> float:
        """The sparsity that the recipe gives."""

    @property
    @abstractmethod
    def structure(self) -> str | None:
        """The comparison group; None if it is unknown."""

    @property
    def weights_changed(self) -> bool:
        """Whether kept weights have other values than in the base model."""
        return False


@dataclass(frozen=True)
class DerivedVariant(BaseVariant):
    """Another variant with other values of its kept weights, or with fewer tokens. It has the masks of that variant."""

    parent: "VariantSpec"

    @property
    def lacks_blocks(self) -> bool:
        """Whether its parent does."""
        return self.parent.lacks_blocks

    @property
    def sparsity(self) -> float:
        """The sparsity of its parent."""
        return self.parent.sparsity

    @property
    def structure(self) -> JsonValue:
        """The comparison group of its parent."""
        return self.parent.structure

    @property
    def propagation(self) -> JsonValue:
        """The propagation of its parent."""
        return self.parent.propagation

    @property
    def weights_changed(self) -> bool:
        """Whether kept weights have other values than in the base model."""
        return True


VariantSpec = DenseVariant | ScoredVariant | CombinedVariant | CapabilityVariant | DerivedVariant


def of_kind(kind: type[AnyVariant], variants: Iterable[VariantSpec]) -> list[AnyVariant]:
    """Return the variants of one kind, in their order."""
    return [variant for variant in variants if isinstance(variant, kind)]


def variant_row(variant: VariantSpec, *, achieved: float) -> dict[str, JsonValue]:
    """Return the catalog row of a variant.

    Args:
        achieved: share of the weights that is removed.
    """
    row: dict[str, JsonValue] = {
        "variant_id": variant.id,
        "base_model_id": variant.model.base_model_id,
        "sparsity": variant.sparsity,
        "achieved_sparsity": achieved,
        "weights_changed": variant.weights_changed,
        **dict.fromkeys(COLUMNS),
    }
    return {**row, **variant.own_columns(achieved=achieved)}


def dense_variant(base: Identity, model: ModelRef) -> DenseVariant:
    """Return the dense variant of a base model."""
    return DenseVariant(make_identity("variants", {"sparsity": 0}, parents={"base_model": base.id}), model)


def agreeing_columns(rows: Sequence[Mapping[str, JsonValue]], names: Sequence[str]) -> dict[str, JsonValue]:
    """Return the columns in which all rows agree, None for the others."""
    return {name: rows[0][name] if all(row[name] == rows[0][name] for row in rows) else None for name in names}
