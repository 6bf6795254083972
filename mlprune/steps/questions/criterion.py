"""The criterion of a question: what is compared, in which languages, and what would count as support."""

from dataclasses import dataclass

from mlprune.hashing import digest, without_defaults
from mlprune.json_values import JsonValue
from mlprune.recipe import AskedLanguages
from mlprune.store.records import ID_LENGTH
from mlprune.vocabulary import METRIC_TRAITS, ClaimName, GroupKind, OverName


@dataclass(frozen=True)
class Criterion:
    """A question without its variants; its parameters are those of the answer's id."""

    metric: str
    group_kind: GroupKind
    group_name: str = ""
    claim: ClaimName = "gain"
    margin: float | None = None
    over: OverName = "each"

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @property
    def group(self) -> AskedLanguages:
        """The languages over which the question is asked."""
        return AskedLanguages(self.group_kind, self.group_name)

    @property
    def sign(self) -> int:
        """1 if higher values of the metric are better, -1 if lower values are: a gain is sign * difference > 0."""
        return 1 if METRIC_TRAITS[self.metric].higher_is_better else -1

    def id(self, task: JsonValue) -> str:
        """Return the key under which declarations of the same question about other variants are found.

        Args:
            task: parameters of the task and the languages of its evaluations.
        """
        return digest([self.parameters, task])[:ID_LENGTH]
