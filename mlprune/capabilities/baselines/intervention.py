"""Baselines of the recipe's model whose hidden states or inputs are changed at run time: their variant and its job."""

from dataclasses import dataclass
from typing import ClassVar

from mlprune.json_values import JsonObject, JsonValue, Row
from mlprune.steps.job import ChainLoader, RecordKey, SmallJob
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant import CapabilityVariant, variant_row
from mlprune.store.store import Store


@dataclass(frozen=True)
class InterventionVariant(CapabilityVariant):
    """A base model whose hidden states or inputs are changed at run time."""

    intervention: str
    settings: tuple[tuple[str, JsonValue], ...] = ()
    """Parameters that are not at their defaults."""
    is_candidate: ClassVar[bool] = False
    sparsity: ClassVar[float] = 0.0
    structure: ClassVar[str | None] = None

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the intervention and its parameters."""
        return {"intervention": self.intervention, "intervention_parameters": dict(self.settings) or None}


@dataclass(frozen=True, kw_only=True)
class InterventionBaseline(PlannedVariant):
    """A planned variant whose evaluations change the model at run time."""

    spec: InterventionVariant
    is_baseline: ClassVar[bool] = True


@dataclass(frozen=True)
class InterventionJob(SmallJob):
    """Record a variant that has the weights of the dense model."""

    step: ClassVar[str] = "prune"
    variant: InterventionVariant
    english_set_id: str | None = None
    """Demonstration set of the English mean states, for LRP2."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The base model, and the English mean states if there are any."""
        parents = self.identity.parents
        means = (("hidden_means", parents["english_means"]),) if "english_means" in parents else ()
        return (("base_models", parents["base_model"]), *means)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the record."""
        rows: dict[str, list[Row]] = {"variants": [variant_row(self.variant, achieved=0.0)]}
        if self.english_set_id is not None:
            link: Row = {"variant_id": self.variant.id, "demonstration_set_id": self.english_set_id, "role": "english"}
            rows["variant_demonstrations"] = [{**link, "weight": 1.0}]
        store.write_record(self.identity.record(rows=rows))
