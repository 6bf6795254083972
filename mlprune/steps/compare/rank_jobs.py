"""Jobs of step `compare` that compute RankC: how similarly two languages rank the candidates. They run no model."""

import hashlib
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.json_values import JsonObject
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.evaluation.metrics import rank_consistency
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.protocol import profile_column
from mlprune.steps.evaluate.results import StoredPredictions, predictions_of
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.store.store import Store


@dataclass(frozen=True)
class RankConsistencyJob(RecordJob):
    """Compute RankC of one variant between all pairs of its languages on one task and split.

    Profile `paper` ranks the candidates as the published code does, by ascending score: the worst candidate comes
    first and has the largest weight.
    """

    step: ClassVar[str] = "compare"
    variant_id: str
    evaluations: tuple[EvaluationSpec, ...]

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The evaluations."""
        return tuple(evaluation.identity.key for evaluation in self.evaluations)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write a row for every ordered pair of languages with common items."""
        by_language = {evaluation.task.language: evaluation for evaluation in self.evaluations}
        spec = self.evaluations[0].task
        sign = -1 if spec.profile == "paper" else 1
        scores = {name: _scores_by_item(predictions_of(store, spec), sign) for name, spec in by_language.items()}
        rows: list[JsonObject] = []
        for a, b in combinations(scores, 2):
            common = [item for item in scores[a] if item in scores[b]]
            if not common:
                continue
            n_candidates = [len(scores[a][item]) for item in common]
            keys = [_tie_keys(item, n) for item, n in zip(common, n_candidates, strict=True)]
            sides = ([scores[a][item] for item in common], [scores[b][item] for item in common])
            value, n_items = rank_consistency(*sides, keys)
            if n_items == 0:
                continue
            for language, reference in ((a, b), (b, a)):
                rows.append(
                    {
                        "variant_id": self.variant_id,
                        "task": spec.task,
                        "language": language,
                        "reference_language": reference,
                        "split": spec.split,
                        "n_items": n_items,
                        "n_skipped": len(common) - n_items,
                        "value": value,
                        "evaluation_id": by_language[language].identity.id,
                        "reference_evaluation_id": by_language[reference].identity.id,
                        "scoring_rule": spec.scoring_rule,
                        "example_limit": spec.limit,
                        "protocol_id": spec.protocol.id,
                        **profile_column(spec.profile),
                    }
                )
        store.write_record(self.identity.record(rows={"rank_consistency": rows}))


def _scores_by_item(predictions: StoredPredictions, sign: int) -> dict[str, NDArray[np.float64]]:
    """Example id -> scores of its candidates under the evaluation's rule, times the sign."""
    assert isinstance(predictions, Predictions), "only choices are ranked"
    scores = (sign * item_scores for item_scores in predictions.item_scores())
    return dict(zip(predictions.example_ids, scores, strict=True))


def _tie_keys(example_id: str, n_candidates: int) -> list[str]:
    """Sort keys of candidates with equal scores: SHA-256 of "example_id:candidate_index"."""
    return [hashlib.sha256(f"{example_id}:{index}".encode()).hexdigest() for index in range(n_candidates)]


def compares_ranks(spec: TaskSpec) -> bool:
    """Whether a task has candidates to rank."""
    return spec.definition.reads == "candidates"
