"""Plan self-translation: the translated texts, the shots of the prompts, and the evaluations of the translations."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.errors import RecipeError
from mlprune.hashing import digest
from mlprune.json_values import JsonValue, as_int
from mlprune.languages import ENGLISH
from mlprune.recipe import BaselineConfig
from mlprune.steps.baselines.intervention_job import InterventionJob
from mlprune.steps.baselines.self_translation import SelfTranslateJob, Shots, TranslatedExamples
from mlprune.steps.evaluate.interventions import Intervention, NoIntervention
from mlprune.steps.evaluate.task_items import as_run, task_data
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, computed_parameters, make_identity
from mlprune.steps.prune.variant import InterventionVariant, VariantSpec
from mlprune.steps.prune.variant_text import parameter_words


@dataclass(frozen=True)
class SelfTranslation:
    """Evaluate tasks on the model's own translations of their examples."""

    shots: Shots

    @property
    def label(self) -> str:
        """The baseline and its settings, as text."""
        return " ".join(("self-translate", *parameter_words(self.settings)))

    @property
    def settings(self) -> dict[str, JsonValue]:
        """Settings that are not at their defaults."""
        defaults = {name: BaselineConfig.model_fields[name].default for name in self._settings}
        return {name: value for name, value in self._settings.items() if value != defaults[name]}

    def spec(self, inputs: Inputs, *, batch_tokens: int) -> InterventionVariant:
        """Describe the variant. The English side of its shots determines its sentences in every language."""
        parameters: dict[str, JsonValue] = {
            "intervention": "self_translate",
            "sparsity": 0,
            **self.settings,
            **computed_parameters(inputs.model, batch_tokens=batch_tokens),
        }
        english = digest([sentence for sentence, _ in self.shots.pairs(ENGLISH)])
        identity = make_identity(
            "variants", parameters, parents={"base_model": inputs.base.id}, contents={"english_shots": english}
        )
        return InterventionVariant(identity, inputs.model, "self_translate", tuple(self.settings.items()))

    def intervention(self, variant: VariantSpec, task: TaskSpec) -> Intervention | None:
        """Evaluate on the translations of the task's examples; English examples stay as they are.

        Tasks without candidates cannot be asked in English, and native prompts would be English ones.

        Raises:
            CorpusError: the corpus lacks the language.
            RecipeError: the task leaves out or cuts items that are longer than the model: their prompts are too long.
        """
        if task.longer != "refuse":
            message = "self_translate translates every item of a task, so none may be left out or cut"
            raise RecipeError(message, task=task.task, key="longer", expected="refuse", got=task.longer)
        if task.definition.reads != "candidates" or task.prompts == "native":
            return None
        return NoIntervention() if task.language == ENGLISH else TranslatedExamples(self._identity(variant, task).id)

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """A job for the variant, and one for every task, language and split."""
        batch_tokens = as_int(variant.identity.parameters["batch_tokens"])
        translated = dict.fromkeys(as_run(task) for task in tasks if task.language != ENGLISH)
        record = [InterventionJob(variant.identity, variant)] if isinstance(variant, InterventionVariant) else []
        return [
            *record,
            *(
                SelfTranslateJob(
                    self._identity(variant, task), variant.model, task, self.shots, batch_tokens=batch_tokens
                )
                for task in translated
            ),
        ]

    @property
    def _settings(self) -> dict[str, JsonValue]:
        return {"shots": self.shots.n, "seed": self.shots.seed, "max_new_tokens": self.shots.max_new_tokens}

    def _identity(self, variant: VariantSpec, task: TaskSpec) -> Identity:
        batch_tokens = as_int(variant.identity.parameters["batch_tokens"])
        parameters = {
            **self.settings,
            "task": as_run(task).parameters,
            **computed_parameters(variant.model, batch_tokens=batch_tokens),
        }
        contents = {"items": task_data(task).content_sha256, "shots": digest(self.shots.pairs(task.language))}
        parents = {"base_model": variant.model.base_model_id}
        return make_identity("self_translations", parameters, parents=parents, contents=contents)


def self_translation(inputs: Inputs, entry: BaselineConfig) -> SelfTranslation:
    """Plan the baseline of an entry.

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
