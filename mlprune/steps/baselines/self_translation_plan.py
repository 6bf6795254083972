"""Plan self-translation: what is translated, behind which shots, and which evaluations read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlprune.errors import RecipeError
from mlprune.hashing import digest
from mlprune.languages import ENGLISH
from mlprune.recipe import BaselineConfig
from mlprune.steps.baselines.self_translation import SelfTranslateJob, Shots
from mlprune.steps.evaluate.interventions import InterventionJob
from mlprune.steps.evaluate.task_spec import USUAL_SHOTS, TaskSpec, task_data
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, make_identity
from mlprune.steps.prune.variant import VariantSpec


@dataclass(frozen=True)
class SelfTranslation:
    """Tasks are evaluated on the model's own translations of their examples."""

    shots: Shots

    @property
    def label(self) -> str:
        """That, and what of it is not as usual."""
        return ", ".join(("self-translate", *([self.details] if self.details else [])))

    @property
    def details(self) -> str | None:
        """What of it is not as usual, in words."""
        usual = BaselineConfig.model_fields["max_new_tokens"].default
        words = (
            f"{self.shots.n} shots" if self.shots.n != USUAL_SHOTS else "",
            f"shots of seed {self.shots.seed}" if self.shots.seed else "",
            f"at most {self.shots.max_new_tokens} new tokens" if self.shots.max_new_tokens != usual else "",
        )
        return ", ".join(word for word in words if word) or None

    def spec(self, inputs: Inputs, *, batch_tokens: int) -> VariantSpec:
        """The variant; the English side of its shots says which sentences they are, in whatever language."""
        parameters = {
            "intervention": "self_translate",
            "sparsity": 0,
            **self._settings,
            "dtype": inputs.model.dtype,
            "batch_tokens": batch_tokens,
        }
        english = digest([sentence for sentence, _ in self.shots.pairs(ENGLISH)])
        identity = make_identity(
            "variants", parameters, parents={"base_model": inputs.base.id}, contents={"english_shots": english}
        )
        return VariantSpec(identity, inputs.model, sparsity=0.0, intervention="self_translate", details=self.details)

    def reads(self, variant: VariantSpec, task: TaskSpec) -> Mapping[str, Any] | None:
        """The translations of a task's examples; English ones are left as they are.

        Tasks without candidates have nothing that could be asked in English; native prompts would be English ones.

        Raises:
            CorpusError: the corpus lacks the language.
        """
        if task.definition.reads != "candidates" or task.prompts == "native":
            return None
        return {} if task.language == ENGLISH else {"translations": self._identity(variant, task).id}

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """The variant, and a job for every task, language and split."""
        batch_tokens = int(variant.identity.parameters["batch_tokens"])
        translated = dict.fromkeys(task.as_run for task in tasks if task.language != ENGLISH)
        return [
            InterventionJob(variant.identity, variant),
            *(
                SelfTranslateJob(
                    self._identity(variant, task), variant.model, task, self.shots, batch_tokens=batch_tokens
                )
                for task in translated
            ),
        ]

    @property
    def _settings(self) -> dict[str, Any]:
        return {"shots": self.shots.n, "seed": self.shots.seed, "max_new_tokens": self.shots.max_new_tokens}

    def _identity(self, variant: VariantSpec, task: TaskSpec) -> Identity:
        own = variant.identity.parameters
        parameters = {
            **self._settings,
            "task": task.as_run.parameters,
            "dtype": own["dtype"],
            "batch_tokens": own["batch_tokens"],
        }
        contents = {"items": task_data(task).content_sha256, "shots": digest(self.shots.pairs(task.language))}
        parents = {"base_model": variant.model.base_model_id}
        return make_identity("self_translations", parameters, parents=parents, contents=contents)


def self_translation(inputs: Inputs, entry: BaselineConfig) -> SelfTranslation:
    """The baseline of an entry.

    Raises:
        RecipeError: the corpus has fewer sentences than a prompt shows.
        CorpusError: the corpus has no English.
    """
    shots = Shots(inputs.corpus_ref, entry.shots, entry.seed, entry.max_new_tokens)
    n = len(shots.pairs(ENGLISH))
    if n < entry.shots:
        message = "too few sentences for the shots of a prompt"
        raise RecipeError(message, baseline=entry.name, expected=entry.shots, got=n)
    return SelfTranslation(shots)
