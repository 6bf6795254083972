"""Description of a variant that is published: everything that its folder states but the store's records do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlprune.json_values import JsonObject


@dataclass(frozen=True)
class Publication:
    """A variant, and what the catalog and the run files say of it."""

    variant_id: str
    label: str
    """The name of the variant in reports."""
    metrics: Sequence[JsonObject] = ()
    """Rows of the query `metrics_of_variant`."""
    environments: Sequence[JsonObject] = ()
    """Environments in which the variant and what it was made from were computed."""
    recipe: str | None = None
    """The recipe that made the variant, as YAML; None if no run file contains it."""
    data_sets: Mapping[str, str] = field(default_factory=dict)
    """Repository of each data set that recipes of the store read from a hub -> its commit."""
