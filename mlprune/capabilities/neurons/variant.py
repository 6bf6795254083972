"""Variants without feed-forward neurons as plain values."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from mlprune.capabilities.neurons.selection import NeuronSelection
from mlprune.json_values import JsonObject, JsonValue, as_object
from mlprune.steps.job import Identity, ModelRef
from mlprune.steps.variants.base_variant import SeedSource, SetLink
from mlprune.steps.variants.variant import CapabilityVariant


@dataclass(frozen=True)
class NeuronVariant(CapabilityVariant):
    """A base model without some feed-forward neurons."""

    selection: NeuronSelection
    activity_ids: tuple[str, ...]
    """Records of the counts, one per demonstration set."""
    set_ids: tuple[str, ...] = ()
    """The demonstration sets, in the same order."""
    is_candidate: ClassVar[bool] = False
    structure: ClassVar[str] = "neurons"

    @property
    def sparsity(self) -> float:
        """The share of language-specific neurons. The catalog has the share of removed weights."""
        return self.selection.share

    @property
    def seed(self) -> int | None:
        """Seed of a random control; None for other variants."""
        return self.selection.seed if self.selection.action == "random" else None

    @property
    def controlled_as(self) -> Hashable:
        """Its selection, and the counts that it follows from."""
        return self.selection, self.activity_ids

    @property
    def control_of(self) -> Hashable:
        """The selection of the language whose neurons a random control counts; None for other variants."""
        return (self.selection.of_language, self.activity_ids) if self.selection.action == "random" else None

    def set_links(self) -> Iterator[SetLink]:
        """Yield the sets whose active neurons were counted."""
        yield from ((set_id, "neurons", 1.0) for set_id in self.set_ids)

    def own_label(self, parents: Sequence[str]) -> str:
        """Return which neurons it lacks, and the seed of a random control."""
        seed = (f"seed {self.selection.seed}",) if self.selection.seed else ()
        return " ".join((*neuron_words(self.selection.parameters), *seed))

    def own_seed(self, source: SeedSource) -> int | None:
        """Return the seed of a random control."""
        return self.seed if source == "score" else None

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return the selection and the counts."""
        return replace(self.selection, seed=0), self.activity_ids

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the choice of neurons, and its seed."""
        choice = {name: value for name, value in self.selection.parameters.items() if name != "seed"}
        return {"sparsity": achieved, "structure": self.structure, "seed": self.seed, "neurons": choice}


def neuron_variant(identity: Identity, model: ModelRef) -> NeuronVariant:
    """Build a variant from the identity in its record."""
    selection = NeuronSelection.from_parameters(as_object(identity.parameters["neurons"]))
    return NeuronVariant(identity, model, selection, tuple(identity.parents["neuron_activity"]))


def neuron_words(columns: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield phrases for the neurons that a variant lacks.

    Args:
        columns: the column `neurons` of the catalog.
    """
    texts = {
        "remove": "without the neurons of {of}",
        "only": "without the neurons of other languages than {of}",
        "random": "without as many random neurons as of {of}",
    }
    yield texts[str(columns["action"])].format(of=columns["of"])
    for name in ("share", "quantile"):
        if name in columns:
            yield f"{name} {columns[name]}"
