"""LRP2, language-representation projection: move the states of a language to English after one block, and back later.

    after block i:      h + v_en - v_l
    after block j > i:  h + v_l - v_en

v is the mean hidden state of a language after that block. Every token of a text in language l is moved; English texts
stay as they are (Xu et al. 2023, arXiv:2311.03788). The pair (i, j) is chosen on a development split: every pair is
tried by a job of step `search`, and one more job chooses the best.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mlprune.evaluation.scoring.candidates import PreparedTask, run_with_rules
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.json_values import JsonObject, JsonValue, as_float, as_int, as_str
from mlprune.models.chain import Chain
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.steps.evaluate.cost import tasks_cost
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.interventions import Intervention
from mlprune.steps.evaluate.prepared_task import prepared_task
from mlprune.steps.evaluate.results import TasksJob
from mlprune.steps.evaluate.task_items import as_run
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import ChainLoader, ModelRef, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.observe.hidden_means import mean_states
from mlprune.steps.small_job import SmallJob
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS

Pair = tuple[int, int]
"""Block after which states are moved to English, and block after which they are moved back; from 0."""


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
    def needs(self) -> tuple[RecordKey, ...]:
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
        self, store: Store, task: TaskSpec, model: ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the items of the task."""
        return prepared_task(task, model, batch_tokens)


@dataclass(frozen=True)
class TrialJob(TasksJob):
    """Score one pair of blocks on some tasks of the development split."""

    step: ClassVar[str] = "search"
    pair: Pair

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The mean states."""
        return tuple(dict.fromkeys(key for trial in self.evaluations for key in trial.intervention.needs))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of all tasks, without stored predictions."""
        tasks = [prepared_task(evaluation.task, self.model, self.batch_tokens) for evaluation in self.evaluations]
        disk_bytes = 4_000.0 * len(self.evaluations)
        return tasks_cost(
            self.step, sizes, tasks, batch_tokens=self.batch_tokens, device=self.model.device, disk_bytes=disk_bytes
        )

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Score the dense model under the projection. Trials that differ only in their rule share one run."""
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        groups: dict[tuple[TaskSpec, Intervention], list[EvaluationSpec]] = {}
        for trial in self.evaluations:
            if not store.has_record(*trial.identity.key):
                groups.setdefault((as_run(trial.task), trial.intervention), []).append(trial)
        for (task, intervention), trials in groups.items():
            prepared = intervention.prepared(store, task, self.model, batch_tokens=self.batch_tokens)
            assert isinstance(prepared, PreparedTask), "translation has two languages and is not projected"
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
class ChoiceJob(SmallJob):
    """Choose the best of the tried pairs for one task and language."""

    step: ClassVar[str] = "search"
    variant_id: str
    trials: tuple[str, ...]
    """Ids of the trials; of equally good ones the first is chosen."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The trials."""
        return tuple(("lrp2_trials", trial_id) for trial_id in self.trials)

    def run(self, store: Store, chain: ChainLoader) -> None:
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
