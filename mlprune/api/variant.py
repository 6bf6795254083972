"""A variant of an open store, as `store["wanda fr-en 0.5"]` returns it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlprune.api.html import facts_html
from mlprune.api.relation import Relation, Row, Value

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from mlprune.api.open_store import OpenStore

SHOWN = ("label", "names", "score", "sparsity", "achieved_sparsity", "structure", "propagation", "demonstration_label")
"""Columns that a notebook shows."""


@dataclass(frozen=True)
class Variant:
    """One variant of a store. All methods of the store that take a variant also take this object."""

    store: "OpenStore"
    id: str

    @property
    def row(self) -> Row:
        """The variant's row of `store.variants()`."""
        return self.store.variants(variant_id=self.id).row()

    @property
    def label(self) -> str:
        """The label, different for every variant of the store."""
        return str(self.row["label"])

    def metrics(self, **filters: Value) -> Relation:
        """Return its values of metrics; see `OpenStore.metrics`."""
        return self.store.metrics(variant_id=self.id, **filters)

    def layers(self, **filters: Value) -> Relation:
        """Return its pruned layers; see `OpenStore.layers`."""
        return self.store.layers(variant_id=self.id, **filters)

    def load(self, *, dtype: str | None = None, device: "str | torch.device | None" = None) -> "PreTrainedModel":
        """Load it as a transformers model; see `OpenStore.load`."""
        return self.store.load(self, dtype=dtype, device=device)

    def mask(self, block: int, layer: str) -> "torch.Tensor":
        """Return the keep mask of a layer; see `OpenStore.mask`."""
        return self.store.mask(self, block, layer)

    def __repr__(self) -> str:
        return f"<variant {self.label}: {self.id}>"

    def _repr_html_(self) -> str:
        row = self.row
        return facts_html(str(row["label"]), [*((name, row[name]) for name in SHOWN), ("id", self.id)])
