"""Record variants that have the weights of the dense model and an intervention at run time."""

from dataclasses import dataclass
from typing import ClassVar

from mlprune.steps.job import ChainLoader, RecordKey, SmallJob
from mlprune.steps.variants.variant import InterventionVariant, variant_row
from mlprune.steps.variants.variant_rows import Row
from mlprune.store.store import Store


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
