"""Plan LRP2: mean states of languages, the search for a pair of blocks, and what evaluations read of both.

The variant's id covers which pairs are candidates, what they are chosen on, and the mean states of English; those of
another language, and the choice made for a task in it, are covered by the ids of the evaluations that read them. So
another language or task leaves what there is as it is.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mlprune.errors import RecipeError
from mlprune.json_values import JsonValue
from mlprune.languages import ENGLISH
from mlprune.recipe import BaselineConfig
from mlprune.steps.baselines.intervention_job import InterventionJob
from mlprune.steps.baselines.lrp2 import ChoiceJob, MovedStates, Pair, TrialJob
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.interventions import Intervention, NoIntervention
from mlprune.steps.evaluate.task_spec import TaskSpec, task_data
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, ModelRef, computed_parameters, make_identity
from mlprune.steps.observe.hidden_means import HiddenMeansJob
from mlprune.steps.prune.variant import InterventionVariant, VariantSpec
from mlprune.steps.prune.variant_text import parameter_words

TRIED_ON: Mapping[str, JsonValue] = {
    name: BaselineConfig.model_fields[name].default for name in ("split", "limit", "seed")
}
"""Defaults of what the choice of a pair is made on."""


@dataclass(frozen=True)
class Projection:
    """LRP2 with the mean states of some sets, one a language."""

    means: Mapping[str, HiddenMeansJob]
    """By language; English is among them."""
    pairs: tuple[Pair, ...]
    """Candidates; a single one needs no choice."""
    tries_all: bool
    """Whether these are all pairs of the model."""
    tried_on: tuple[str, int | None, int]
    """Split, limit and seed of the items the choice is made on."""
    seed: int
    """Of the sets."""
    name: str | None
    """Of the entry, for messages."""

    @property
    def label(self) -> str:
        """The baseline and its settings, in words."""
        return " ".join(("lrp2", *parameter_words(self.settings), *([f"seed {self.seed}"] if self.seed else [])))

    @property
    def settings(self) -> dict[str, JsonValue]:
        """Candidate pairs, and what the choice among several is made on; all pairs of a model are the default."""
        layers: dict[str, JsonValue] = {} if self.tries_all else {"layers": [list(pair) for pair in self.pairs]}
        if len(self.pairs) == 1:
            return layers
        return layers | {name: value for name, value in self._tried_on.items() if value != TRIED_ON[name]}

    @property
    def _tried_on(self) -> dict[str, JsonValue]:
        return dict(zip(("split", "limit", "seed"), self.tried_on, strict=True))

    def spec(self, inputs: Inputs, *, batch_tokens: int) -> InterventionVariant:
        """The variant."""
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
        """Move the states of the task's language to English, between the chosen blocks; English stays as it is.

        Raises:
            RecipeError: there are no mean states of the language.
        """
        if task.sides:
            return None
        if task.language == ENGLISH:
            return NoIntervention()
        if task.language not in self.means:
            message = "lrp2 has no text of a language that is evaluated"
            raise RecipeError(message, baseline=self.name, expected=sorted(self.means), got=task.language)
        if len(self.pairs) == 1:
            return MovedStates(self._means_ids(task.language), pair=self.pairs[0])
        return MovedStates(self._means_ids(task.language), choice_id=self._choice(variant, task).id)

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """Mean states, the variant, and, for several pairs, the trials (a job a pair) and the choices."""
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
        model, batch_tokens = variant.model, int(variant.identity.parameters["batch_tokens"])
        jobs += [TrialJob(model, tuple(found), pair, batch_tokens=batch_tokens) for pair, found in by_pair.items()]
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
        """Every pair on the items of the other split.

        Raises:
            TaskFileError: that split's items are not there or wrong.
        """
        split, limit, seed = self.tried_on
        tried = replace(task, split=split, limit=limit, seed=seed)
        batch_tokens = int(variant.identity.parameters["batch_tokens"])
        parameters = {**tried.parameters, **computed_parameters(variant.model, batch_tokens=batch_tokens)}
        parents = {"base_model": variant.model.base_model_id, "means": list(self._means_ids(task.language))}
        contents = {"items": task_data(tried).content_sha256}
        for pair in self.pairs:
            of_pair = {**parameters, "pair": list(pair)}
            identity = make_identity("lrp2_trials", of_pair, parents=parents, contents=contents)
            yield pair, EvaluationSpec(identity, tried, MovedStates(self._means_ids(task.language), pair=pair))


def projections(
    inputs: Inputs, entry: BaselineConfig, sets: Sequence[PlannedSet], *, batch_tokens: int
) -> Iterator[Projection]:
    """One for each seed of the sets.

    Raises:
        RecipeError: sets are not of one language each, English is missing, or the model has no such blocks.
    """
    pairs = _pairs(inputs.model, entry)
    for seed in dict.fromkeys(one.spec.seed for one in sets):
        own = [one for one in sets if one.spec.seed == seed]
        languages = [one.spec.source for one in own]
        if None in languages or any(one.spec.target for one in own) or len(set(languages)) < len(own):
            message = "lrp2 reads sets of one language each, one set a language"
            raise RecipeError(message, baseline=entry.name, expected="kind monolingual", got=[one.label for one in own])
        if ENGLISH not in languages:
            message = "lrp2 moves states to English, and there is no English set"
            raise RecipeError(message, baseline=entry.name, expected=ENGLISH, got=languages)
        means = {str(one.spec.source): _means_job(inputs, one, batch_tokens=batch_tokens) for one in own}
        yield Projection(
            means, pairs, entry.layers == "search", (entry.split, entry.limit, entry.seed), seed, entry.name
        )


def _means_job(inputs: Inputs, planned: PlannedSet, *, batch_tokens: int) -> HiddenMeansJob:
    parameters = computed_parameters(inputs.model, batch_tokens=batch_tokens)
    parents = {"base_model": inputs.base.id, "demonstration_set": planned.id}
    identity = make_identity("hidden_means", parameters, parents=parents)
    return HiddenMeansJob(identity, inputs.model, planned.id, batch_tokens=batch_tokens)


def _pairs(model: ModelRef, entry: BaselineConfig) -> tuple[Pair, ...]:
    """The candidates, each once, in rising order."""
    if entry.layers == "search":
        if model.n_blocks < 2:
            raise RecipeError("lrp2 needs two blocks", baseline=entry.name, expected=2, got=model.n_blocks)
        return tuple(combinations(range(model.n_blocks), 2))
    for pair in entry.layers:
        if pair[1] >= model.n_blocks:
            expected = f"0 to {model.n_blocks - 1}"
            raise RecipeError("the model has no such block", baseline=entry.name, expected=expected, got=pair[1])
    return tuple(sorted(set(entry.layers)))
