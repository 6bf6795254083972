"""What the jobs of a plan take: products to compute, passes over the weights, memory beside them, room in the store.

All of it from sizes: the recipe's sets and tasks, the headers of the weight files. Estimates of memory are meant to be
kept, those of tokens and disk to be near. What it means for actors and time is left to `pool.py` and `estimate.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlprune.evaluation.scoring.candidates import PreparedTask
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.models.placement.memory_estimate import Footprint, footprint, pruning_bytes
from mlprune.numeric.inference.log_probs import MAX_LOGITS
from mlprune.plan.plan import Plan
from mlprune.steps.baselines.lrp2 import TrialJob
from mlprune.steps.baselines.self_translation import SelfTranslateJob, prepared_texts
from mlprune.steps.demonstrate.jobs import DemonstrateJob, MixJob
from mlprune.steps.evaluate.jobs import EvaluateJob, prepared_task
from mlprune.steps.job import Job
from mlprune.steps.observe.activations import STORED_BYTES, ActivationsJob
from mlprune.steps.observe.dense_pass import PassJob
from mlprune.steps.observe.hidden_means import HiddenMeansJob
from mlprune.steps.observe.jobs import ObserveJob, ObservePartJob
from mlprune.steps.observe.neurons import NeuronActivityJob
from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.prune.ordering import OrderBlockJob
from mlprune.steps.prune.outliers import OutliersJob
from mlprune.steps.prune.sweep import SweepJob

Sets = Mapping[str, tuple[int, int]]
"""Demonstration set -> its tokens, padding included, and its demonstrations; at most."""

SMALL_JOB_BYTES = 64 * 2**20
"""What any job may take: tables, tokenisers, Parquet buffers."""
STATE_BYTES = 16
"""Bytes a token and feature of the widest input, while a batch runs through a block."""
DRAWN_AHEAD = 2
"""Batches on their way for each that is computed."""
STATISTICS_BYTES = 3 * 2**25
"""Statistics gathered for one part: as they came, joined, and as a file."""

COPIES = 3
"""Of the raw activations of one part: as they came, joined, and as files."""
COUNT_DIGITS = 6
"""Of a count in a record, as text."""
COORDINATING_BYTES = SMALL_JOB_BYTES + STATISTICS_BYTES
"""What a worker takes whose model is in other processes."""


@dataclass(frozen=True)
class Work:
    """What one job takes of the worker that does it."""

    step: str
    flops: float = 0.0
    n_passes: float = 0.0
    """Times every weight is used, batch after batch between two of them: what an offloaded model reads."""
    fixed_bytes: int = SMALL_JOB_BYTES
    """Memory beside the weights, whatever the number of threads."""
    thread_bytes: int = 0
    """Memory of each piece that is worked on."""
    disk_bytes: float = 20_000.0
    """Left in the store, before compression."""
    on_chain: bool = False
    """Whether the memory is the chain's; otherwise it is that of the worker alone."""

    def held_bytes(self, n_threads: int) -> int:
        """Memory beside process and weights with so many threads."""
        return self.fixed_bytes + n_threads * self.thread_bytes


def most_held(works: Sequence[Work], n_threads: int) -> int:
    """What the hungriest of some jobs holds beside process and weights."""
    return max((work.held_bytes(n_threads) for work in works), default=SMALL_JOB_BYTES)


def makespan(works: Sequence[Work], n_workers: int, of: Callable[[Work], float] = lambda work: work.flops) -> float:
    """What is done one after another when workers share the jobs of each step: the part of the busiest.

    Args:
        of: what is counted of a job; its products, if nothing is said.
    """
    by_step: dict[str, list[float]] = {}
    for work in works:
        by_step.setdefault(work.step, []).append(of(work))
    return sum(max(sum(numbers) / n_workers, *numbers) for numbers in by_step.values())


def work_of(plan: Plan, sizes: Footprint, jobs: Sequence[Job]) -> list[Work]:
    """What each of some jobs of a plan takes, whose model has these sizes; those of its baselines have their own."""
    sets = dict(_set_sizes(plan))
    others = {one: footprint(Path(one.path), one.dtype) for one in plan.models if one != plan.model}
    return [_work(job, others.get(job.chain_model or plan.model, sizes), sets) for job in jobs]


def _work(job: Job, sizes: Footprint, sets: Sets) -> Work:
    of_kind: dict[type[Job], Callable[[Any, Footprint, Sets], Work]] = {
        ObserveJob: _observing,
        ObservePartJob: _observing,
        SweepJob: _sweeping,
        ActivationsJob: _keeping_activations,
        NeuronActivityJob: _counting_neurons,
        HiddenMeansJob: _averaging,
        EvaluateJob: _evaluating,
        TrialJob: _trying,
        SelfTranslateJob: _translating,
        OrderBlockJob: _ordering,
        OutliersJob: _finding_outliers,
        CombineJob: _combining,
    }
    found = next((make(job, sizes, sets) for kind, make in of_kind.items() if isinstance(job, kind)), None)
    return found or Work(job.step, thread_bytes=4 * sum(sizes.prunable) if job.step == "compare" else 0)


def _ordering(job: OrderBlockJob, sizes: Footprint, _sets: Sets) -> Work:
    n_levels = len(job.ordering.sparsities)
    held = _ordering_bytes(sizes)
    return replace(held, step=job.step, disk_bytes=sum(sizes.prunable) * n_levels.bit_length() / 8)


def _finding_outliers(job: OutliersJob, sizes: Footprint, _sets: Sets) -> Work:
    return Work(job.step, thread_bytes=sum(sizes.prunable) * (sizes.item + STATE_BYTES))


def _combining(job: CombineJob, sizes: Footprint, _sets: Sets) -> Work:
    n_masks = len(job.variant.parent_ids) + 2
    return Work(job.step, thread_bytes=n_masks * sum(sizes.prunable), disk_bytes=_n_weights(sizes) / 8)


def _observing(job: ObserveJob | ObservePartJob, sizes: Footprint, sets: Sets) -> Work:
    n_tokens, n_rows = sets.get(job.demonstration_set_id, (0, 0))
    if isinstance(job, ObservePartJob) and n_rows:
        n_tokens, n_rows = n_tokens * len(job.demonstrations) // n_rows, len(job.demonstrations)
    gathered = 5 * n_rows * sizes.inputs * len(sizes.blocks)  # float32, and a quarter for the files being written
    return Work(
        job.step,
        flops=_block_flops(sizes, n_tokens),
        n_passes=1,
        fixed_bytes=max(COORDINATING_BYTES, SMALL_JOB_BYTES + gathered),
        thread_bytes=_batch_bytes(sizes, job.batch_tokens),
        disk_bytes=4.0 * n_rows * sizes.inputs * len(sizes.blocks),
        on_chain=True,
    )


def _keeping_activations(job: ActivationsJob, sizes: Footprint, sets: Sets) -> Work:
    n_tokens, n_rows = sets.get(job.demonstration_set_id, (0, 0))
    lengths = [len(part) for part in job.parts]
    share = max(lengths, default=0) / max(1, sum(lengths))
    widened = 4 / STORED_BYTES[job.dtype]
    return Work(
        job.step,
        flops=2 * _block_flops(sizes, n_tokens * sum(lengths) / max(1, n_rows)),  # a wanted block runs twice
        n_passes=len(lengths),
        fixed_bytes=SMALL_JOB_BYTES + int(COPIES * share * widened * job.most_bytes),
        thread_bytes=_batch_bytes(sizes, job.batch_tokens),
        disk_bytes=float(job.most_bytes),
        on_chain=True,
    )


def _counting_neurons(job: NeuronActivityJob, sizes: Footprint, sets: Sets) -> Work:
    return _passing(job, sizes, sets, disk_bytes=COUNT_DIGITS * float(sizes.widest * len(sizes.blocks)))


def _averaging(job: HiddenMeansJob, sizes: Footprint, sets: Sets) -> Work:
    return _passing(job, sizes, sets, disk_bytes=8.0 * sizes.hidden * len(sizes.blocks))


def _passing(job: PassJob, sizes: Footprint, sets: Sets, *, disk_bytes: float) -> Work:
    """One pass of a set of which only sums are kept."""
    n_tokens, _ = sets.get(job.demonstration_set_id, (0, 0))
    return Work(
        job.step,
        flops=_block_flops(sizes, n_tokens),
        n_passes=1,
        thread_bytes=_batch_bytes(sizes, job.batch_tokens),
        disk_bytes=disk_bytes,
        on_chain=True,
    )


def _trying(job: TrialJob, sizes: Footprint, _sets: Sets) -> Work:
    """As an evaluation, of which no predictions are kept."""
    prepared = [prepared_task(one.task, job.model, job.batch_tokens) for one in job.evaluations]
    return _running(job, sizes, prepared, disk_bytes=4_000.0 * len(job.evaluations))


def _translating(job: SelfTranslateJob, sizes: Footprint, _sets: Sets) -> Work:
    prepared = prepared_texts(job.task, job.shots, job.model, job.batch_tokens)
    return _running(job, sizes, [prepared], disk_bytes=400.0 * len(prepared.items))


def _sweeping(job: SweepJob, sizes: Footprint, sets: Sets) -> Work:
    variant = job.variant
    ids = [one for one in (*variant.set_ids, variant.contrast_set_id) if one]
    n_tokens, n_rows = (sum(numbers) for numbers in zip(*(sets.get(one, (0, 0)) for one in ids), strict=True))
    ordering = _ordering_bytes(sizes)
    products = 3 * 8 * sizes.widest**2 if variant.weights_changed else 0
    changed = 4 * _n_weights(sizes) if variant.weights_changed else 0
    states = n_tokens * sizes.hidden * sizes.item
    batch = _batch_bytes(sizes, job.batch_tokens)
    return Work(
        job.step,
        flops=2 * _block_flops(sizes, n_tokens),
        n_passes=1,
        fixed_bytes=ordering.fixed_bytes + states + 2 * products + 4 * n_rows * sizes.inputs,
        thread_bytes=max(ordering.thread_bytes, batch),
        disk_bytes=_n_weights(sizes) / 8 + 4.0 * n_rows * sizes.inputs * len(sizes.blocks) + changed,
        on_chain=True,
    )


def _evaluating(job: EvaluateJob, sizes: Footprint, _sets: Sets) -> Work:
    prepared = [prepared_task(one.task, job.model, job.batch_tokens) for one in job.evaluations]
    return _running(job, sizes, prepared, disk_bytes=40_000.0 * len(job.evaluations))


def _running(
    job: EvaluateJob | TrialJob | SelfTranslateJob,
    sizes: Footprint,
    tasks: Sequence[PreparedTask | PreparedTranslation],
    *,
    disk_bytes: float,
) -> Work:
    """What it takes to score or translate some tasks."""
    flops = n_passes = 0.0
    n_logits = MAX_LOGITS
    for task in tasks:
        n_tokens, passes, n_rows = _task_size(task)
        flops += _block_flops(sizes, n_tokens) + 2.0 * n_tokens * sizes.hidden * sizes.vocabulary
        n_passes += passes
        n_logits = max(n_logits, n_rows * sizes.vocabulary)
    caches = 2 * job.batch_tokens * sizes.hidden * len(sizes.blocks) * sizes.item
    return Work(
        job.step,
        flops=flops,
        n_passes=n_passes + 1,
        fixed_bytes=SMALL_JOB_BYTES + sum(sizes.prunable) * 2,
        thread_bytes=_batch_bytes(sizes, job.batch_tokens) + caches + n_logits * (4 + 4 + sizes.item),
        disk_bytes=disk_bytes,
        on_chain=True,
    )


def _task_size(prepared: PreparedTask | PreparedTranslation) -> tuple[int, float, int]:
    """Tokens a task runs through the model, padding included; how often all blocks run; most rows of logits at once."""
    if isinstance(prepared, PreparedTask):
        return sum(planned.batch.n_computed for planned in prepared.batches), 1.0, 0
    n_tokens = sum(len(ids) + prepared.max_new_tokens for ids in prepared.token_ids)
    n_passes = float(prepared.max_new_tokens * len(prepared.batches))
    return n_tokens, n_passes, max((len(batch) for batch in prepared.batches), default=0)


def _set_sizes(plan: Plan) -> Iterator[tuple[str, tuple[int, int]]]:
    """All demonstration sets of a plan; one that others are mixed into has as many as it takes of each."""
    longest: dict[str, int] = {}
    for job in plan.jobs:
        if isinstance(job, DemonstrateJob):
            longest[job.identity.id] = job.spec.max_tokens
            yield job.identity.id, (job.spec.samples * job.spec.max_tokens, job.spec.samples)
        elif isinstance(job, MixJob):
            parts = zip(job.taken, job.parts, strict=True)
            yield job.identity.id, (sum(n * longest.get(part, 0) for n, part in parts), sum(job.taken))


def _block_flops(sizes: Footprint, n_tokens: float) -> float:
    return 2.0 * n_tokens * _n_weights(sizes)


def _n_weights(sizes: Footprint) -> int:
    """Prunable weights of all blocks, taken to be like the largest."""
    return len(sizes.blocks) * sum(sizes.prunable)


def _batch_bytes(sizes: Footprint, batch_tokens: int) -> int:
    """One batch on its way through a block."""
    return DRAWN_AHEAD * batch_tokens * sizes.widest * STATE_BYTES


def _ordering_bytes(sizes: Footprint) -> Work:
    """Ordering one block: what it takes at any rate, and for each layer at a time."""
    fixed = pruning_bytes(sizes, n_threads=0)
    a_thread = pruning_bytes(sizes, n_threads=1) - fixed
    return Work("", fixed_bytes=SMALL_JOB_BYTES + fixed, thread_bytes=a_thread)
