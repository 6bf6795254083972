"""Evaluate several variants that lack whole blocks in one run, in which each block runs once on what they share.

The evaluations and their bytes are those of one job per variant. Texts that a model generates have no such run.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from mlprune.errors import work_context
from mlprune.evaluation.scoring.candidates import PLAIN, PreparedTask, run_without_blocks
from mlprune.models.chain import Chain
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import in_parts
from mlprune.steps.evaluate.model_evaluation import EvaluateJob, VariantsJob, run_of, write_scores
from mlprune.steps.evaluate.results import work_text
from mlprune.steps.job import BATCHES_IN_FLIGHT, ChainLoader, Job, JobCost, SetSizes, block_flops
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.variants.variant_rows import removed_blocks
from mlprune.store.store import Store


@dataclass(frozen=True)
class EvaluateWithoutBlocksJob(VariantsJob):
    """Score the texts of variants that lack whole blocks, and nothing else."""

    n_block_runs: int = field(default=0, kw_only=True)
    """How often a block runs on a batch, over all blocks and variants; never part of an identity."""

    @property
    def shares_replicas(self) -> bool:
        """Return True: batches are divided among the replicas of the model."""
        return True

    @property
    def variant_ids(self) -> tuple[str, ...]:
        """The variants, in the order of their first evaluations."""
        return tuple(dict.fromkeys(one.variant_id for one in self.evaluations))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of the blocks that run, and of the head for each variant; every batch has the states of all variants.

        Weights are read once.
        """
        n_variants = len(self.variant_ids)
        of_first = tuple(one for one in self.evaluations if one.variant_id == self.variant_ids[0])
        alone = EvaluateJob(self.model, of_first, self.variant_ids[0], batch_tokens=self.batch_tokens, states_bytes=0)
        cost = alone.cost(sizes, sets)
        states_bytes = BATCHES_IN_FLIGHT * n_variants * self.batch_tokens * sizes.hidden * sizes.itemsize
        n_runs = self.n_block_runs / len(sizes.blocks)
        return replace(
            cost,
            flops=n_variants * cost.flops - (n_variants - n_runs) * block_flops(sizes, cost.n_tokens),
            n_tokens=n_runs * cost.n_tokens,
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


def n_block_runs(lacks: Collection[frozenset[int]], *, n_blocks: int) -> int:
    """Return how often a block runs on a batch, over all blocks, for models that each lack some; see `SkippingVisitor`.

    Args:
        lacks: the blocks that each model lacks.
    """
    running = ([lacked for lacked in lacks if block not in lacked] for block in range(n_blocks))
    return sum(
        len({frozenset(one for one in lacked if one < block) for lacked in models})
        for block, models in enumerate(running)
    )


def evaluated_together(jobs: Iterable[Job], lacks: Mapping[str, frozenset[int]]) -> Iterator[Job]:
    """Yield jobs, with one job at the end for all evaluations of some variants that score texts.

    Args:
        lacks: variant of the model of all jobs that lacks whole blocks and nothing else -> these blocks.
    """
    jobs = list(jobs)
    of_chosen = [one for one in jobs if isinstance(one, EvaluateJob) and one.variant_id in lacks]
    scored = [one for job in of_chosen for one in job.evaluations if not one.task.is_generated]
    scored_ids = {one.identity.id for one in scored}
    rest = ((job.without(scored_ids) if isinstance(job, EvaluateJob) else job) for job in jobs)
    yield from (job for job in rest if job.makes)
    if scored:
        model, batch_tokens = of_chosen[0].model, of_chosen[0].batch_tokens
        n_runs = n_block_runs(lacks.values(), n_blocks=model.n_blocks)
        yield EvaluateWithoutBlocksJob(model, tuple(scored), batch_tokens=batch_tokens, n_block_runs=n_runs)
