"""Section `questions` of a recipe. Ids of masks, variants and evaluations do not depend on it."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from mlprune.recipe.base import DENSE_LABEL, Model, Name, unknown_name
from mlprune.recipe.evaluations import KNOWN_TASKS
from mlprune.recipe.questions.asked_languages import EXPECTED, AskedLanguages, asked_languages
from mlprune.vocabulary import ClaimName, OverName, computable_metrics


def _check_group(text: str) -> str:
    return asked_languages(text).text


GroupName = Annotated[
    str, AfterValidator(_check_group), Field(title=EXPECTED.replace(" or resource_class", ", resource_class"))
]


class QuestionConfig(Model):
    """One question that the results are to answer; the variants that it compares are one family of tests."""

    name: Name
    """Name of the question, unique among the questions."""
    variants: str
    """Name of the entry of variants or baselines that the question is about."""
    against: str = DENSE_LABEL
    """`dense`, or the name of another entry. A variant is compared with each comparable variant of that entry, as with
    the key `against` of variants."""
    task: str
    """A task of the recipe's evaluations. Of several evaluations on one split, the first one counts, with its first
    rule, profile, prompt language and seed of shots."""
    languages: GroupName
    """`outside_english` and `all` are means over languages; `worst` compares the variant's lowest language with the
    baseline's lowest."""
    claim: ClaimName = "gain"
    """`gain`: better than the baseline. `noninferior`: worse by less than the margin. `equivalent`: differs by less
    than the margin."""
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    """noninferior, equivalent: the margin, a fraction (0.02 is 2 points); of perplexity, the logarithm of the ratio.
    Choose it before the run: a margin that is declared after results exist is exploratory."""
    over: OverName = "each"
    """`each` variant gets a test, corrected over all variants of the question; or one test of the `mean` of all."""
    split: Annotated[str, Field(min_length=1)] = "test"
    """Split of the evaluations."""
    metric: str | None = None
    """A metric of the task (its first)."""
    primary: bool = True
    """`false` marks the answer as exploratory."""

    @field_validator("task")
    @classmethod
    def _task_is_known(cls, value: str, info: ValidationInfo) -> str:
        known = (*KNOWN_TASKS, *(info.context or {}).get("tasks", ()))
        if value not in known:
            raise unknown_name("task", value, known)
        return value

    @model_validator(mode="after")
    def _margin_fits_claim(self) -> "QuestionConfig":
        if self.claim == "gain" and self.margin is not None:
            raise ValueError(
                f"margin does not apply to claim gain, only to noninferior and equivalent, got {self.margin}"
            )
        if self.claim != "gain" and self.margin is None:
            raise ValueError(f"claim {self.claim} needs a margin, such as 0.02 for 2 points")
        return self

    @model_validator(mode="after")
    def _metric_fits_task(self) -> "QuestionConfig":
        known = computable_metrics(self.task)
        if self.metric is not None and self.metric not in known:
            raise unknown_name(f"metric of task {self.task}", self.metric, known, key="metric")
        return self

    @property
    def group(self) -> AskedLanguages:
        """The languages over which it is asked."""
        return asked_languages(self.languages)
