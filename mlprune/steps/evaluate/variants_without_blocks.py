"""Evaluate several variants that lack whole blocks in one run, in which each block runs once on what they share.

The evaluations and their bytes are those of one job per variant. Texts that a model generates have no such run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mlprune.errors import work_context
from mlprune.evaluation.scoring.candidates import PLAIN, PreparedTask, run_without_blocks
from mlprune.models.chain import Chain
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import in_parts
from mlprune.steps.evaluate.model_evaluation import EvaluateJob, VariantsJob, run_of, write_scores
from mlprune.steps.evaluate.results import work_text
from mlprune.steps.job import BATCHES_IN_FLIGHT, ChainLoader, Job, JobCost, SetSizes
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.variants.variant_rows import removed_blocks
from mlprune.store.store import Store


@dataclass(frozen=True)
class EvaluateWithoutBlocksJob(VariantsJob):
    """Score the texts of variants that lack whole blocks, and nothing else."""

    @property
    def shares_replicas(self) -> bool:
        """Return True: batches are divided among the replicas of the model."""
        return True

    @property
    def variant_ids(self) -> tuple[str, ...]:
        """The variants, in the order of their first evaluations."""
        return tuple(dict.fromkeys(one.variant_id for one in self.evaluations))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of half of the model for each variant, and for what they share; every batch has the states of all.

        It is that of variants that lack one block each and the same ones before. Weights are read once.
        """
        n_variants = len(self.variant_ids)
        of_first = tuple(one for one in self.evaluations if one.variant_id == self.variant_ids[0])
        alone = EvaluateJob(self.model, of_first, self.variant_ids[0], batch_tokens=self.batch_tokens, states_bytes=0)
        cost = alone.cost(sizes, sets)
        states_bytes = BATCHES_IN_FLIGHT * n_variants * self.batch_tokens * sizes.hidden * sizes.itemsize
        return replace(
            cost,
            flops=cost.flops * (1 + n_variants) / 2,
            n_tokens=cost.n_tokens * (1 + n_variants) / 2,
            thread_bytes=cost.thread_bytes + states_bytes,
            device_thread_bytes=cost.device_thread_bytes + states_bytes,
            disk_bytes=40_000.0 * len(self.evaluations),
        )

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Adopt the evaluations of an earlier version; run those that have no record then, task by task."""
        groups = self.pending_runs(store)
        if not groups:
            return
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        for evaluations in in_parts("evaluation", list(groups.values())):
            with work_context(partial(work_text, evaluations)):
                self._score(store, model, evaluations)

    def _score(self, store: Store, model: Chain, evaluations: Sequence[EvaluationSpec]) -> None:
        """Score the candidates once, and write all evaluations of one run."""
        task, intervention, measurement = run_of(evaluations[0])
        prepared = intervention.prepared(store, task, self.model, batch_tokens=self.batch_tokens)
        assert isinstance(prepared, PreparedTask), "generated texts have jobs of their own"
        lacks = {
            variant_id: frozenset(removed_blocks(store.require("variants", variant_id)))
            for variant_id in dict.fromkeys(one.variant_id for one in evaluations)
        }
        scores = run_without_blocks(
            model,
            prepared,
            [one.task.rule for one in evaluations],
            lacks=tuple(lacks.values()),
            measures=PLAIN if measurement is None else measurement.measures(store),
        )
        of_variant = dict(zip(lacks, scores, strict=True))
        for evaluation in evaluations:
            write_scores(store, evaluation, prepared=prepared, scores=of_variant[evaluation.variant_id])


def evaluated_together(jobs: Iterable[Job], variant_ids: Iterable[str]) -> Iterator[Job]:
    """Yield jobs, with one job at the end for all evaluations of some variants that score texts.

    Args:
        variant_ids: variants of one model that lack whole blocks and nothing else.
    """
    jobs, chosen = list(jobs), frozenset(variant_ids)
    of_chosen = [one for one in jobs if isinstance(one, EvaluateJob) and one.variant_id in chosen]
    scored = [one for job in of_chosen for one in job.evaluations if not one.task.is_generated]
    scored_ids = {one.identity.id for one in scored}
    rest = ((job.without(scored_ids) if isinstance(job, EvaluateJob) else job) for job in jobs)
    yield from (job for job in rest if job.makes)
    if scored:
        yield EvaluateWithoutBlocksJob(of_chosen[0].model, tuple(scored), batch_tokens=of_chosen[0].batch_tokens)
