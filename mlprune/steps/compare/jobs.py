"""Step `compare`: paired differences to a baseline, RankC, and overlaps of masks and of features.

The jobs read stored predictions, masks and features. They run no model.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.bootstrap import compare
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.evaluation.metrics import rank_consistency
from mlprune.numeric.evaluation.significance import holm
from mlprune.numeric.masks.keep_masks import jaccard_removed
from mlprune.numeric.masks.overlaps import top_bottom_overlap
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.protocol import profile_column
from mlprune.steps.evaluate.results import StoredPredictions, predictions_of
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.prune.stored_masks import require_masks
from mlprune.store.store import Store
from mlprune.vocabulary import ProfileName

OVERLAP_SHARE = 0.3
"""Share of the features that counts as top and as bottom, as in the paper's figures."""
PUBLISHED_SHARE = 0.4
"""The share that the published script uses, whatever it is asked for."""
MOST_OVERLAPS = 10_000
"""Default of the largest number of pairs of variants whose masks are compared."""


@dataclass(frozen=True)
class CompareJob(RecordJob):
    """Compare a variant with a baseline on one task and split; the languages are the family of Holm's correction."""

    step: ClassVar[str] = "compare"
    variant_id: str
    baseline_id: str
    pairs: tuple[tuple[EvaluationSpec, EvaluationSpec], ...]
    """(evaluation of the variant, evaluation of the baseline) for each language."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """All evaluations."""
        return tuple(evaluation.identity.key for pair in self.pairs for evaluation in pair)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare each language, then correct the p-values of each metric."""
        rows = [row for evaluation, baseline in self.pairs for row in self._rows(store, evaluation, baseline)]
        for metric in dict.fromkeys(row["metric"] for row in rows):
            family = [row for row in rows if row["metric"] == metric]
            for row, adjusted in zip(family, holm([cast("float", row["p_value"]) for row in family]), strict=True):
                row["p_holm"] = adjusted
        store.write_record(self.identity.record(rows={"comparisons": rows}))

    def _rows(self, store: Store, evaluation: EvaluationSpec, baseline: EvaluationSpec) -> list[dict[str, JsonValue]]:
        """Rows of one language, one per metric."""
        spec = evaluation.task
        first, second = predictions_of(store, evaluation), predictions_of(store, baseline)
        rows: list[dict[str, JsonValue]] = []
        for metric in task_metrics(spec.definition, spec.target_language, names=spec.metrics):
            difference = compare(metric, first, second)
            row: dict[str, JsonValue] = {
                "comparison_id": self.identity.id,
                "variant_id": self.variant_id,
                "baseline_id": self.baseline_id,
                "evaluation_id": evaluation.identity.id,
                "baseline_evaluation_id": baseline.identity.id,
                "task": spec.task,
                "language": spec.language,
                "split": spec.split,
                "metric": metric.name,
                "difference": difference.difference,
                "ci_low": difference.ci_low,
                "ci_high": difference.ci_high,
                "p_value": difference.p_value,
                **profile_column(spec.profile),
            }
            rows.append(row)
        return rows


@dataclass(frozen=True)
class RankConsistencyJob(RecordJob):
    """Compute RankC of one variant between all pairs of its languages on one task and split.

    Profile `paper` ranks the candidates as the published code does, upside down: the worst candidate comes first and
    has the largest weight.
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


@dataclass(frozen=True)
class MaskOverlapJob(RecordJob):
    """Compute the Jaccard index of the removed weights of two variants, for each layer."""

    step: ClassVar[str] = "compare"
    variants: tuple[str, str]

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variants."""
        return tuple(("variants", variant) for variant in self.variants)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Memory for the masks of one block of both variants."""
        return JobCost(self.step, thread_bytes=4 * sum(sizes.prunable))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare the masks block by block."""
        both = [require_masks(store, variant) for variant in self.variants]
        levels = [stored.level for stored in both]
        rows: list[JsonObject] = []
        for block, artefacts in enumerate(zip(*(stored.masks for stored in both), strict=True)):
            first, second = map(partial(read_keep_masks, store.uri), artefacts, levels)
            for layer in first:
                row: JsonObject = {
                    "variant_a": self.variants[0],
                    "variant_b": self.variants[1],
                    "block": block,
                    "layer": layer,
                }
                rows.append({**row, "jaccard": jaccard_removed(~first[layer], ~second[layer])})
        store.write_record(self.identity.record(rows={"mask_overlaps": rows}))


@dataclass(frozen=True)
class FeatureOverlapJob(RecordJob):
    """Compute the overlaps of the top features of one demonstration set and the bottom features of another."""

    step: ClassVar[str] = "compare"
    base_model_id: str
    sets: tuple[str, str]
    statistics: tuple[str, str]
    share: float = OVERLAP_SHARE
    """Share of the features that count as large, and as small."""
    profile: ProfileName = "corrected"

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The statistics of both sets."""
        return tuple(("statistics", statistics_id) for statistics_id in self.statistics)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare the magnitudes after every block."""
        first, second = (_magnitudes(store, statistics_id) for statistics_id in self.statistics)
        rows: list[JsonObject] = []
        for (set_a, a), (set_b, b) in (
            ((self.sets[0], first), (self.sets[1], second)),
            ((self.sets[1], second), (self.sets[0], first)),
        ):
            for depth in range(len(a)):
                row: JsonObject = {"base_model_id": self.base_model_id, "set_a": set_a, "set_b": set_b, "depth": depth}
                value = top_bottom_overlap(a[depth], b[depth], self.share)
                rows.append({**row, "share": self.share, "value": value, **profile_column(self.profile)})
        store.write_record(self.identity.record(rows={"feature_overlaps": rows}))


def _magnitudes(store: Store, statistics_id: str) -> NDArray[np.float64]:
    """[n_blocks + 1, d] mean magnitudes of a set."""
    record = store.require("statistics", statistics_id)
    artefact = next(file for file in record.artefacts if file.path.startswith("features/"))
    columns = store.read_table(artefact)
    n_depths = max(columns["depth"]) + 1
    return np.asarray(columns["magnitude"], dtype=np.float64).reshape(n_depths, -1)


def compares_ranks(spec: TaskSpec) -> bool:
    """Whether a task has candidates to rank."""
    return spec.definition.reads == "candidates"
