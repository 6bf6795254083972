"""Evaluated variants as plain values: what every format of results has to say."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """A variant, and the base model that it is made from."""

    variant_id: str
    label: str
    """Text that describes the variant; `dense` for the base model itself."""
    base_model: str
    """Name on a hub, or the name of a folder."""
    settings: Mapping[str, str]
    """Further columns of the variant as text, without those that are NULL."""

    @property
    def developer(self) -> str:
        """The organisation in the name of the base model; `unknown` if there is none."""
        organisation, slash, _ = self.base_model.rpartition("/")
        return organisation.rpartition("/")[2] if slash else "unknown"

    @property
    def name(self) -> str:
        """The name of the base model without its organisation."""
        return self.base_model.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class EvaluatedMetric:
    """One metric of one evaluation."""

    evaluation_id: str
    task: str
    language: str
    split: str
    metric: str
    value: float
    """A fraction, never percent; a perplexity is per token."""
    ci_low: float | None
    ci_high: float | None
    interval: str | None
    """Method of the 95 % interval."""
    standard_error: float | None
    n: int | None
    """Items."""
    n_clusters: int | None
    chance: float | None
    higher_is_better: bool
    settings: Mapping[str, str]
    """Further columns of the evaluation as text, without those that are NULL."""
    evaluated_at: str | None = None
    """ISO 8601, UTC; None if no run file says so."""
    dataset: str | None = None
    """Id of the data set on a hub; None if the items were read from files."""
    dataset_revision: str | None = None
    """Commit of the data set."""

    @property
    def result_id(self) -> str:
        """Id of this number: of the evaluation, and the metric."""
        return f"{self.evaluation_id}/{self.metric}"
