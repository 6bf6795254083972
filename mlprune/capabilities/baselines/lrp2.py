"""LRP2, language-representation projection: move the states of a language to English after one block, and back later.

    after block i:      h + v_en - v_l
    after block j > i:  h + v_l - v_en

v is the mean hidden state of a language after that block. Every token of a text in language l is moved; English texts
stay as they are (Xu et al. 2023, arXiv:2311.03788). The pair (i, j) is chosen on a development split: every pair is
tried by a job of step `search`, and one more job chooses the best.

The id of the variant covers the candidate pairs, the items on which one is chosen, and the mean states of English. The
ids of evaluations cover the mean states of their language and the choice for their task. Adding a language or a task
therefore changes no existing id.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, ClassVar

from torch import Tensor

from mlprune.capabilities.baselines.hidden_means import HiddenMeansJob, mean_states
from mlprune.capabilities.baselines.intervention import InterventionBaseline, InterventionJob, InterventionVariant
from mlprune.capabilities.baselines.keys import BaselineConfig
from mlprune.errors import RecipeError, TaskFileError
from mlprune.evaluation.scoring.candidates import PreparedTask, run_with_rules
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.json_values import JsonObject, JsonValue, as_float, as_int, as_str
from mlprune.languages import ENGLISH
from mlprune.models.chain import Chain
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import in_parts
from mlprune.steps import job
from mlprune.steps.declared_job import DeclaredJob, Parent
from mlprune.steps.evaluate.model_evaluation import tasks_cost
from mlprune.steps.evaluate.results import TasksJob
from mlprune.steps.inputs import Inputs
from mlprune.steps.sets import PlannedSet
from mlprune.steps.tasks.evaluation import (
    EvaluationSpec,
    Intervention,
    NoIntervention,
    as_run,
    prepared_task,
    task_data,
)
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.variant_text import parameter_words
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS

Pair = tuple[int, int]
"""Block after which states are moved to English, and block after which they are moved back; from 0."""
TRIED_ON: Mapping[str, JsonValue] = {
    name: BaselineConfig.model_fields[name].default for name in ("split", "limit", "seed")
}
"""Defaults of the items on which a pair is chosen."""


def shifts(language: Tensor, english: Tensor, pair: Pair) -> dict[int, Tensor]:
    """Return the vectors [d] to add after each block of a pair.

    Args:
        language: [n_blocks, d] mean states of the language after every block.
        english: [n_blocks, d] mean states of English.
        pair: two blocks, the lower first.
    """
    first, second = pair
    return {first: english[first] - language[first], second: language[second] - english[second]}


@contextmanager
def projected(chain: Chain, store: Store, *, means: Iterable[str], pair: Pair) -> Iterator[None]:
    """Move everything that runs through a chain to English and back until the context ends.

    Args:
        means: ids of the mean states of the language and of English.
    """
    language, english = (mean_states(store, means_id) for means_id in means)
    chain.everywhere(Shard.set_shifts, shifts(language, english, pair))
    try:
        yield
    finally:
        chain.everywhere(Shard.set_shifts, None)


@dataclass(frozen=True)
class MovedStates:
    """LRP2 in one evaluation: the states of a language are moved to English and back."""

    means: tuple[str, str]
    """Ids of the mean states of the language and of English."""
    pair: Pair | None = None
    """The blocks; None if a choice names them."""
    choice_id: str | None = None
    """Record of the choice of a pair."""

    @property
    def parents(self) -> JsonObject:
        """The mean states, and the choice if there is one."""
        means = list(self.means)
        return {"means": means} if self.choice_id is None else {"means": means, "choice": self.choice_id}

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The mean states, and the choice if there is one."""
        choice = () if self.choice_id is None else (("lrp2_choices", self.choice_id),)
        return (*(("hidden_means", means_id) for means_id in self.means), *choice)

    def active(self, chain: Chain, store: Store) -> AbstractContextManager[None]:
        """Move everything that runs through the chain."""
        pair = self.pair
        if pair is None:
            assert self.choice_id is not None, "without a pair there is a choice"
            pair = chosen_pair(store, self.choice_id)
        return projected(chain, store, means=self.means, pair=pair)

    def prepared(
        self, store: Store, task: TaskSpec, model: job.ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the items of the task."""
        return prepared_task(task, model, batch_tokens)


@dataclass(frozen=True)
class TrialJob(TasksJob):
    """Score one pair of blocks on some tasks of the development split."""

    step: ClassVar[str] = "search"
    pair: Pair

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The mean states."""
        return tuple(dict.fromkeys(key for trial in self.evaluations for key in trial.intervention.needs))

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """Cost of all tasks, without stored predictions."""
        tasks = [prepared_task(evaluation.task, self.model, self.batch_tokens) for evaluation in self.evaluations]
        cost = tasks_cost(self.step, sizes, tasks, batch_tokens=self.batch_tokens, device=self.model.device)
        return replace(cost, disk_bytes=4_000.0 * len(self.evaluations))

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Score the dense model under the projection. Trials that differ only in their rule share one run."""
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        groups: dict[tuple[TaskSpec, Intervention], list[EvaluationSpec]] = {}
        for trial in self.evaluations:
            if not store.has_record(*trial.identity.key):
                groups.setdefault((as_run(trial.task), trial.intervention), []).append(trial)
        for (task, intervention), trials in in_parts("evaluation", list(groups.items())):
            prepared = intervention.prepared(store, task, self.model, batch_tokens=self.batch_tokens)
            assert isinstance(prepared, PreparedTask), "tasks with generated texts are not projected"
            with intervention.active(model, store):
                scores = run_with_rules(model, prepared, [trial.task.rule for trial in trials])
            for trial in trials:
                rule, profile = trial.task.rule, trial.task.profile
                predictions = Predictions.from_scores(prepared.items, scores).with_rule(rule, profile=profile)
                store.write_record(trial.identity.record(rows={"lrp2_trials": [self._row(trial, predictions)]}))

    def _row(self, trial: EvaluationSpec, predictions: Predictions) -> dict[str, JsonValue]:
        metric = task_metrics(trial.task.definition, trial.task.target_language)[0]
        return {
            "trial_id": trial.identity.id,
            "base_model_id": self.model.base_model_id,
            "first_block": self.pair[0],
            "second_block": self.pair[1],
            **trial.task.columns,
            **trial.task.protocol.columns,
            "metric": metric.name,
            "value": metric.of(predictions),
            "n": len(predictions.example_ids),
        }


@dataclass(frozen=True)
class PairChoiceJob(DeclaredJob, job.SmallJob):
    """Choose the best of the tried pairs for one task and language."""

    kind: ClassVar[str] = "lrp2_choices"
    step: ClassVar[str] = "search"
    variant_id: Annotated[str, Parent("variant", kind="")]
    trials: Annotated[tuple[str, ...], Parent("trials", "lrp2_trials")]
    """Ids of the trials; of equally good ones the first is chosen."""

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Compare the values of the trials."""
        rows = [store.require("lrp2_trials", trial_id).rows["lrp2_trials"][0] for trial_id in self.trials]
        sign = 1 if METRIC_TRAITS[as_str(rows[0]["metric"])].higher_is_better else -1
        best = max(rows, key=lambda row: sign * as_float(row["value"]))
        row = {name: value for name, value in best.items() if name not in ("trial_id", "base_model_id")}
        row |= {"choice_id": self.identity.id, "variant_id": self.variant_id, "n_trials": len(rows)}
        store.write_record(self.identity.record(rows={"lrp2_choices": [row]}))


def chosen_pair(store: Store, choice_id: str) -> Pair:
    """Return the chosen pair."""
    row = store.require("lrp2_choices", choice_id).rows["lrp2_choices"][0]
    return as_int(row["first_block"]), as_int(row["second_block"])


@dataclass(frozen=True, kw_only=True)
class Projection(InterventionBaseline):
    """LRP2 with the mean states of some sets, one per language."""

    means: Mapping[str, HiddenMeansJob]
    """Jobs that compute mean states, by language; English is included."""
    pairs: tuple[Pair, ...]
    """Candidate pairs; a single one needs no choice."""
    tried_on: tuple[str, int | None, int]
    """Split, limit and seed of the items on which a pair is chosen."""
    sets_seed: int
    name: str | None
    """Name of the entry, for messages."""
    batch_tokens: int

    @property
    def label(self) -> str:
        """The baseline and its settings, as text."""
        words = parameter_words(dict(self.spec.settings))
        return " ".join(("lrp2", *words, *([f"seed {self.sets_seed}"] if self.sets_seed else [])))

    def intervention(self, task: TaskSpec) -> Intervention | None:
        """Move the states of the task's language to English between the chosen blocks; English texts stay as they are.

        Tasks whose texts are generated are not evaluated: None.

        Raises:
            RecipeError: the language has no mean states.
        """
        if task.is_generated:
            return None
        if task.language == ENGLISH:
            return NoIntervention()
        if task.language not in self.means:
            message = "lrp2 has no text in an evaluated language"
            raise RecipeError(message, baseline=self.name, expected=sorted(self.means), got=task.language)
        if len(self.pairs) == 1:
            return MovedStates(self._means_ids(task.language), pair=self.pairs[0])
        return MovedStates(self._means_ids(task.language), choice_id=self._choice(task).identity.id)

    def jobs(self, tasks: Sequence[TaskSpec]) -> list[job.Job]:
        """Mean states and the variant; for several pairs also the trials (one job per pair) and the choices."""
        languages = dict.fromkeys((ENGLISH, *(task.language for task in tasks)))
        jobs: list[job.Job] = [self.means[language] for language in languages]
        jobs.append(InterventionJob(self.spec.identity, self.spec, self.means[ENGLISH].demonstration_set_id))
        if len(self.pairs) == 1:
            return jobs
        choices = [(self._choice(task), task) for task in tasks if task.language != ENGLISH]
        chosen = {choice.identity.id: (choice, task) for choice, task in choices}
        by_pair: dict[Pair, list[EvaluationSpec]] = defaultdict(list)
        for _, task in chosen.values():
            for pair, trial in self._trials(task):
                by_pair[pair].append(trial)
        model, batch_tokens = self.spec.model, self.batch_tokens
        jobs += [TrialJob(model, tuple(trials), pair, batch_tokens=batch_tokens) for pair, trials in by_pair.items()]
        return [*jobs, *(choice for choice, _ in chosen.values())]

    def _means_ids(self, language: str) -> tuple[str, str]:
        return self.means[language].identity.id, self.means[ENGLISH].identity.id

    def _choice(self, task: TaskSpec) -> PairChoiceJob:
        return PairChoiceJob(self.id, tuple(trial.identity.id for _, trial in self._trials(task)))

    def _trials(self, task: TaskSpec) -> Iterator[tuple[Pair, EvaluationSpec]]:
        """Yield a trial of every pair on the items of the development split.

        Raises:
            TaskFileError: the items of that split are missing or wrong.
        """
        split, limit, seed = self.tried_on
        tried = replace(task, split=split, limit=limit, seed=seed)
        content = self._tried_content(tried)
        model = self.spec.model
        parameters = {**tried.parameters, **job.computed_parameters(model, batch_tokens=self.batch_tokens)}
        parents = {"base_model": model.base_model_id, "means": list(self._means_ids(task.language))}
        contents = {"items": content}
        for pair in self.pairs:
            of_pair = {**parameters, "pair": list(pair)}
            identity = job.make_identity("lrp2_trials", of_pair, parents=parents, contents=contents)
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
    pairs, tried_on = _pairs(inputs.model, entry), (entry.split, entry.limit, entry.seed)
    layers: JsonObject = {"layers": [list(pair) for pair in pairs]}
    tried: JsonObject = {}
    if len(pairs) > 1:
        tried = {key: value for key, value in zip(TRIED_ON, tried_on, strict=True) if value != TRIED_ON[key]}
    settings = (*({} if entry.layers == "search" else layers).items(), *tried.items())
    parameters: JsonObject = {
        "intervention": entry.kind,
        "sparsity": 0,
        **layers,
        **job.computed_parameters(inputs.model, batch_tokens=batch_tokens),
        **({"tried_on": tried} if len(pairs) > 1 else {}),
    }
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
        parents = {"base_model": inputs.base.id, "english_means": means[ENGLISH].identity.id}
        identity = job.make_identity("variants", parameters, parents=parents)
        yield Projection(
            spec=InterventionVariant(identity, inputs.model, entry.kind, settings),
            means=means,
            pairs=pairs,
            tried_on=tried_on,
            sets_seed=seed,
            name=entry.name,
            batch_tokens=batch_tokens,
        )


def _means_job(inputs: Inputs, planned: PlannedSet, *, batch_tokens: int) -> HiddenMeansJob:
    parameters = job.computed_parameters(inputs.model, batch_tokens=batch_tokens)
    parents = {"base_model": inputs.base.id, "demonstration_set": planned.id}
    identity = job.make_identity("hidden_means", parameters, parents=parents)
    return HiddenMeansJob(identity, inputs.model, planned.id, batch_tokens=batch_tokens)


def _pairs(model: job.ModelRef, entry: BaselineConfig) -> tuple[Pair, ...]:
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
