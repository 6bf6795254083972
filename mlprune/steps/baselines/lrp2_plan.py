"""Plan LRP2: mean states of languages, the search for a pair of blocks, and what evaluations read of both.

The id of the variant covers the candidate pairs, the items on which one is chosen, and the mean states of English. The
ids of evaluations cover the mean states of their language and the choice for their task. Adding a language or a task
therefore changes no existing id.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mlprune.errors import RecipeError, TaskFileError
from mlprune.json_values import JsonValue, as_int
from mlprune.languages import ENGLISH
from mlprune.recipe import BaselineConfig
from mlprune.steps.baselines.intervention_job import InterventionJob
from mlprune.steps.baselines.lrp2 import ChoiceJob, MovedStates, Pair, TrialJob
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.interventions import Intervention, NoIntervention
from mlprune.steps.evaluate.task_items import task_data
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, ModelRef, computed_parameters, make_identity
from mlprune.steps.observe.hidden_means import HiddenMeansJob
from mlprune.steps.prune.variant import InterventionVariant, VariantSpec
from mlprune.steps.prune.variant_text import parameter_words

TRIED_ON: Mapping[str, JsonValue] = {
    name: BaselineConfig.model_fields[name].default for name in ("split", "limit", "seed")
}
"""Defaults of the items on which a pair is chosen."""


@dataclass(frozen=True)
class Projection:
    """LRP2 with the mean states of some sets, one per language."""

    means: Mapping[str, HiddenMeansJob]
    """Jobs that compute mean states, by language; English is included."""
    pairs: tuple[Pair, ...]
    """Candidate pairs; a single one needs no choice."""
    tries_all: bool
    """Whether the candidates are all pairs of the model."""
    tried_on: tuple[str, int | None, int]
    """Split, limit and seed of the items on which a pair is chosen."""
    seed: int
    """Seed of the sets."""
    name: str | None
    """Name of the entry, for messages."""

    @property
    def label(self) -> str:
        """The baseline and its settings, as text."""
        return " ".join(("lrp2", *parameter_words(self.settings), *([f"seed {self.seed}"] if self.seed else [])))

    @property
    def settings(self) -> dict[str, JsonValue]:
        """Settings that are not at their defaults: the candidate pairs, and the items on which one is chosen."""
        layers: dict[str, JsonValue] = {} if self.tries_all else {"layers": [list(pair) for pair in self.pairs]}
        if len(self.pairs) == 1:
            return layers
        return layers | {name: value for name, value in self._tried_on.items() if value != TRIED_ON[name]}

    @property
    def _tried_on(self) -> dict[str, JsonValue]:
        return dict(zip(("split", "limit", "seed"), self.tried_on, strict=True))

    def spec(self, inputs: Inputs, *, batch_tokens: int) -> InterventionVariant:
        """Describe the variant."""
        parameters: dict[str, JsonValue] = {
            "intervention": "lrp2",
            "sparsity": 0,
            "layers": [list(pair) for pair in self.pairs],
            **computed_parameters(inputs.model, batch_tokens=batch_tokens),
        }
        if len(self.pairs) > 1:
            parameters["tried_on"] = {name: value for name, value in self._tried_on.items() if value != TRIED_ON[name]}
        parents = {"base_model": inputs.base.id, "english_means": self.means[ENGLISH].identity.id}
        identity = make_identity("variants", parameters, parents=parents)
        return InterventionVariant(identity, inputs.model, "lrp2", tuple(self.settings.items()))

    def intervention(self, variant: VariantSpec, task: TaskSpec) -> Intervention | None:
        """Move the states of the task's language to English between the chosen blocks; English texts stay as they are.

        Raises:
            RecipeError: the language has no mean states.
        """
        if task.sides:
            return None
        if task.language == ENGLISH:
            return NoIntervention()
        if task.language not in self.means:
            message = "lrp2 has no text in an evaluated language"
            raise RecipeError(message, baseline=self.name, expected=sorted(self.means), got=task.language)
        if len(self.pairs) == 1:
            return MovedStates(self._means_ids(task.language), pair=self.pairs[0])
        return MovedStates(self._means_ids(task.language), choice_id=self._choice(variant, task).id)

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """Mean states and the variant; for several pairs also the trials (one job per pair) and the choices."""
        languages = dict.fromkeys((ENGLISH, *(task.language for task in tasks)))
        jobs: list[Job] = [self.means[language] for language in languages]
        if isinstance(variant, InterventionVariant):
            jobs.append(InterventionJob(variant.identity, variant, self.means[ENGLISH].demonstration_set_id))
        if len(self.pairs) == 1:
            return jobs
        chosen = {self._choice(variant, task).id: task for task in tasks if task.language != ENGLISH}
        by_pair: dict[Pair, list[EvaluationSpec]] = defaultdict(list)
        for task in chosen.values():
            for pair, trial in self._trials(variant, task):
                by_pair[pair].append(trial)
        model, batch_tokens = variant.model, as_int(variant.identity.parameters["batch_tokens"])
        jobs += [TrialJob(model, tuple(trials), pair, batch_tokens=batch_tokens) for pair, trials in by_pair.items()]
        return [*jobs, *(self._choice_job(variant, task) for task in chosen.values())]

    def _means_ids(self, language: str) -> tuple[str, str]:
        return self.means[language].identity.id, self.means[ENGLISH].identity.id

    def _choice(self, variant: VariantSpec, task: TaskSpec) -> Identity:
        trials = [trial.identity.id for _, trial in self._trials(variant, task)]
        return make_identity("lrp2_choices", parents={"variant": variant.id, "trials": trials})

    def _choice_job(self, variant: VariantSpec, task: TaskSpec) -> ChoiceJob:
        identity = self._choice(variant, task)
        return ChoiceJob(identity, variant.id, tuple(identity.parents["trials"]))

    def _trials(self, variant: VariantSpec, task: TaskSpec) -> Iterator[tuple[Pair, EvaluationSpec]]:
        """Yield a trial of every pair on the items of the development split.

        Raises:
            TaskFileError: the items of that split are missing or wrong.
        """
        split, limit, seed = self.tried_on
        tried = replace(task, split=split, limit=limit, seed=seed)
        content = self._tried_content(tried)
        batch_tokens = as_int(variant.identity.parameters["batch_tokens"])
        parameters = {**tried.parameters, **computed_parameters(variant.model, batch_tokens=batch_tokens)}
        parents = {"base_model": variant.model.base_model_id, "means": list(self._means_ids(task.language))}
        contents = {"items": content}
        for pair in self.pairs:
            of_pair = {**parameters, "pair": list(pair)}
            identity = make_identity("lrp2_trials", of_pair, parents=parents, contents=contents)
            yield pair, EvaluationSpec(identity, tried, MovedStates(self._means_ids(task.language), pair=pair))

    def _tried_content(self, tried: TaskSpec) -> str:
        try:
            return task_data(tried).content_sha256
        except TaskFileError as err:
            message = "lrp2 chooses its blocks on a split that cannot be read for the evaluated task"
            place = {"baseline": self.name, "task": tried.task, "language": tried.language, "split": tried.split}
            expected = f"items of split {tried.split}, or layers: [[a, b]] in the baseline, or an evaluation without it"
            raise TaskFileError(message, **place, expected=expected, reason=str(err)) from err


def projections(
    inputs: Inputs, entry: BaselineConfig, sets: Sequence[PlannedSet], *, batch_tokens: int
) -> Iterator[Projection]:
    """Yield a baseline for each seed of the sets.

    Raises:
        RecipeError: a set has several languages, English is missing, or the model has no such blocks.
    """
    pairs = _pairs(inputs.model, entry)
    for seed in dict.fromkeys(planned.spec.seed for planned in sets):
        of_seed = [planned for planned in sets if planned.spec.seed == seed]
        languages = [planned.spec.source for planned in of_seed]
        if None in languages or any(planned.spec.target for planned in of_seed) or len(set(languages)) < len(of_seed):
            message = "lrp2 reads one monolingual set per language"
            got = [planned.label for planned in of_seed]
            raise RecipeError(message, baseline=entry.name, expected="kind monolingual", got=got)
        if ENGLISH not in languages:
            message = "lrp2 needs an English set"
            raise RecipeError(message, baseline=entry.name, expected=ENGLISH, got=languages)
        means = {
            str(planned.spec.source): _means_job(inputs, planned, batch_tokens=batch_tokens) for planned in of_seed
        }
        yield Projection(
            means, pairs, entry.layers == "search", (entry.split, entry.limit, entry.seed), seed, entry.name
        )


def _means_job(inputs: Inputs, planned: PlannedSet, *, batch_tokens: int) -> HiddenMeansJob:
    parameters = computed_parameters(inputs.model, batch_tokens=batch_tokens)
    parents = {"base_model": inputs.base.id, "demonstration_set": planned.id}
    identity = make_identity("hidden_means", parameters, parents=parents)
    return HiddenMeansJob(identity, inputs.model, planned.id, batch_tokens=batch_tokens)


def _pairs(model: ModelRef, entry: BaselineConfig) -> tuple[Pair, ...]:
    """Return the candidate pairs, each once, in ascending order."""
    if entry.layers == "search":
        if model.n_blocks < 2:
            raise RecipeError("lrp2 needs two blocks", baseline=entry.name, expected=2, got=model.n_blocks)
        return tuple(combinations(range(model.n_blocks), 2))
    for pair in entry.layers:
        if pair[1] >= model.n_blocks:
            expected = f"0 to {model.n_blocks - 1}"
            raise RecipeError("the model has no such block", baseline=entry.name, expected=expected, got=pair[1])
    return tuple(sorted(set(entry.layers)))
