"""Jobs of step `compare` that answer questions from the records of comparisons. They run no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from mlprune.json_values import JsonValue, as_float
from mlprune.steps.compare.jobs import CompareJob
from mlprune.steps.job import ChainLoader, RecordKey
from mlprune.steps.questions.answers import Compared, answer_rows
from mlprune.steps.questions.criterion import Criterion
from mlprune.steps.questions.evidence import read_evidence
from mlprune.steps.questions.plan import PlannedQuestion
from mlprune.steps.small_job import SmallJob
from mlprune.store.store import Store


class AnsweringComparison(NamedTuple):
    """One comparison of a question."""

    comparison_id: str
    variant_id: str
    baseline_id: str
    baseline_evaluations: tuple[tuple[str, str], ...]
    """(language, id) of the baseline's evaluations in the languages of the question."""
    seed: int | None
    """Seed of the variant's demonstrations or score; None if nothing of it is drawn at random."""


@dataclass(frozen=True)
class AnswerJob(SmallJob):
    """Answer one question; its comparisons are the family of its tests."""

    step: ClassVar[str] = "compare"
    criterion: Criterion
    comparisons: tuple[AnsweringComparison, ...]

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The comparisons."""
        return tuple(("comparisons", comparison.comparison_id) for comparison in self.comparisons)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Read the comparisons, and write a row for each of them, or one for their mean."""
        compared = [self._read(store, comparison) for comparison in self.comparisons]
        rows = answer_rows(self.identity.id, self.criterion, compared)
        store.write_record(self.identity.record(rows={"answers": rows}))

    def _read(self, store: Store, comparison: AnsweringComparison) -> Compared:
        record = store.require("comparisons", comparison.comparison_id)
        evidence = read_evidence(store, record, self.criterion)
        worst = evidence.row.get("baseline_worst_language")
        evaluations = [
            evaluation for language, evaluation in comparison.baseline_evaluations if worst in (None, language)
        ]
        return Compared(
            comparison.comparison_id,
            comparison.variant_id,
            comparison.baseline_id,
            n_languages=len(comparison.baseline_evaluations),
            seed=comparison.seed,
            chance=_mean_chance(store, evaluations, metric=self.criterion.metric),
            evidence=evidence,
        )


def _mean_chance(store: Store, evaluations: Sequence[str], *, metric: str) -> float | None:
    """Return the mean chance level of evaluations; None if the metric has none."""
    chances: list[JsonValue] = [
        row.get("chance")
        for evaluation in evaluations
        for row in store.require("evaluations", evaluation).rows["metrics"]
        if row["metric"] == metric
    ]
    known = [as_float(chance) for chance in chances if chance is not None]
    return sum(known) / len(known) if known and len(known) == len(chances) else None


def answer_jobs(questions: Sequence[PlannedQuestion]) -> list[AnswerJob]:
    """Make one job per question."""
    return [_answer_job(question) for question in questions]


def _answer_job(question: PlannedQuestion) -> AnswerJob:
    comparisons = tuple(
        answering_comparison(job, question.languages, seed=seed)
        for job, seed in zip(question.comparisons, question.seeds, strict=True)
    )
    return AnswerJob(question.identity, question.criterion, comparisons)


def answering_comparison(job: CompareJob, languages: Sequence[str], *, seed: int | None) -> AnsweringComparison:
    """Return what a question about some languages reads of a comparison.

    Args:
        seed: of the comparison's variant.
    """
    baselines = tuple(
        (baseline.task.language, baseline.identity.id)
        for _, baseline in job.pairs
        if baseline.task.language in languages
    )
    return AnsweringComparison(job.identity.id, job.variant_id, job.baseline_id, baselines, seed)
