"""Evaluation protocols: how a task is evaluated, apart from variant, language, split, scoring rule and item count."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from mlprune.evaluation.tasks.template_tasks import TemplateTask
from mlprune.hashing import digest, without_defaults
from mlprune.json_values import JsonValue
from mlprune.store.records import ID_LENGTH
from mlprune.vocabulary import HalvesName, LongerName, ProfileName, PromptName


@dataclass(frozen=True)
class ExampleSubset:
    """A part of the examples, chosen by id."""

    n_asked: int
    """Number of ids that were asked for."""
    sha256: str
    """SHA-256 of these ids in ascending order, joined by newlines."""

    @classmethod
    def of(cls, example_ids: Collection[str]) -> "ExampleSubset":
        """The subset of the given ids."""
        text = "\n".join(sorted(example_ids))
        return cls(len(example_ids), hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a task is evaluated.

    Evaluations of equal protocol differ only in variant, language, split, scoring rule and number of items, which are
    columns of their own.
    """

    task: str
    template: TemplateTask | None = None
    """A task that a recipe describes."""
    prompts: PromptName = "en"
    limit_seed: int = 0
    """Seed of the items that a limit keeps; 0 without a limit, so that limited and full evaluations agree."""
    n_shots: int | None = None
    """Translation: sentence pairs in the prompt."""
    shot_seed: int | None = None
    """Translation: seed of the choice of these pairs."""
    max_new_tokens: int | None = None
    """Translation: most tokens generated."""
    metric_names: tuple[str, ...] = ()
    """Metrics computed instead of those of the task."""
    subset: ExampleSubset | None = None
    """Examples that a rescoring kept."""
    profile: ProfileName = "corrected"
    other_shots: bool = False
    """Translation: whether the sentence pairs in the prompt are from another text than the evaluated ones."""
    split_by: HalvesName = "items"
    """What the halves dev and test of a corpus divide."""
    longer: LongerName = "refuse"
    """What happens to an item that is longer than the model."""

    @cached_property
    def id(self) -> str:
        """Hash of the parameters that are not at their defaults: the key by which evaluations are joined."""
        return digest(without_defaults(self))[:ID_LENGTH]

    @property
    def columns(self) -> dict[str, JsonValue]:
        """Columns of the catalog; NULL for what the protocol does not have."""
        return {
            "prompts": self.prompts,
            "limit_seed": self.limit_seed,
            "n_shots": self.n_shots,
            "shot_seed": self.shot_seed,
            "max_new_tokens": self.max_new_tokens,
            "metric_names": list(self.metric_names) or None,
            "subset_n_asked": None if self.subset is None else self.subset.n_asked,
            "subset_sha256": None if self.subset is None else self.subset.sha256,
            **profile_column(self.profile),
            **({"other_shots": True} if self.other_shots else {}),
            **({} if self.split_by == "items" else {"split_by": self.split_by}),
            **({} if self.longer == "refuse" else {"longer": self.longer}),
        }


def profile_column(profile: ProfileName) -> dict[str, JsonValue]:
    """The column of the catalog that marks rows of profile `paper`; the catalog adds it to all other rows."""
    return {} if profile == "corrected" else {"profile": profile}
