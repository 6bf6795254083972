"""What a plan says about its jobs."""

import shlex
from collections import Counter
from collections.abc import Sequence

from mlprune.counted import counted
from mlprune.hub import format_size
from mlprune.json_values import as_int
from mlprune.models.model_layers import dense_groups
from mlprune.planning.plan import Plan
from mlprune.planning.resources.estimate import Needs
from mlprune.planning.resources.node_capacity import GIB
from mlprune.steps.demonstrate.writing import DemonstrateJob
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.job import Job, JobCost, ModelRef, block_flops
from mlprune.steps.observe.activations import ActivationsJob
from mlprune.steps.observe.block_pass import ObserveBlocksJob
from mlprune.steps.prune.ordering import DenseVariantJob
from mlprune.steps.tasks.evaluation import as_run, prepared_task, task_data
from mlprune.steps.variants.variant_text import parameter_words
from mlprune.steps.vocabulary.sizes import model_sizes
from mlprune.steps.vocabulary.variant import VocabularyJob
from mlprune.store.store import Store

MAX_LISTED = 5
"""Most items that one line names."""
ENOUGH_TEXTS = 100
"""Texts from which intervals of perplexity cover about as often as stated, unless changes are very skewed."""


def activation_lines(jobs: Sequence[Job]) -> list[str]:
    """One line per set whose raw activations are stored."""
    return [
        f"raw activations of {job.set_name}: at most {job.most_bytes / GIB:.3f} GiB, quota {job.quota_gib:g} GiB"
        for job in jobs
        if isinstance(job, ActivationsJob)
    ]


def observation_lines(pending: Sequence[Job], needs: Needs) -> list[str]:
    """One line per set that is observed block by block: its statistics, and what they cost."""
    return [
        f"observed block by block: {job.set_label}: squares, {', '.join(name for name, _ in job.observed)}: "
        f"{cost.fixed_bytes / GIB:.2f} GiB of memory, {cost.disk_bytes / GIB:.3f} GiB on disk, {_runs(cost)}"
        f"{cost.flops / block_flops(needs.sizes, cost.n_tokens):.1f} times the operations of a pass for squares alone"
        for job, cost in zip(pending, needs.costs, strict=True)
        if isinstance(job, ObserveBlocksJob)
    ]


def longer_lines(pending: Sequence[Job]) -> list[str]:
    """One line per set and per task with texts that are too long and are therefore left out or cut."""
    lines = [
        f"longer than max_tokens: {counted(job.n_longer, 'demonstration')} of {_set_text(job)}: {job.spec.longer}"
        for job in pending
        if isinstance(job, DemonstrateJob) and job.n_longer
    ]
    lines += [
        f"cut before the target: {job.cut} of {_set_text(job)}: max_tokens {job.spec.max_tokens}"
        for job in pending
        if isinstance(job, DemonstrateJob) and job.cut.n
    ]
    evaluations = {
        (as_run(evaluation.task), job.model, job.batch_tokens): evaluation.task.longer
        for job in pending
        if isinstance(job, EvaluateJob)
        for evaluation in job.evaluations
        if evaluation.task.longer != "refuse"
    }
    for (task, model, batch_tokens), longer in evaluations.items():
        ids = prepared_task(task, model, batch_tokens).longer_ids
        if ids:
            more = f" and {len(ids) - MAX_LISTED} more" if len(ids) > MAX_LISTED else ""
            lines.append(
                f"longer than the model: {counted(len(ids), 'item')} of {task.task} {task.language} {task.split}: "
                f"{longer}: {', '.join(ids[:MAX_LISTED])}{more}"
            )
    return lines


def dense_lines(model: ModelRef, jobs: Sequence[Job]) -> list[str]:
    """One line about the parameters of two or more dimensions in blocks that stay dense, if there are any."""
    of_model = (job for job in jobs if isinstance(job, DenseVariantJob) and job.base.id == model.base_model_id)
    groups = dense_groups(layer for job in of_model for layer in job.layers)
    if not groups:
        return []
    reasons: dict[str, list[str]] = {}
    for group in groups:
        reasons.setdefault(group.reason, []).append(group.name)
    listed = [f"{', '.join(names)} ({reason})" for reason, names in list(reasons.items())[:MAX_LISTED]]
    n_weights = sum(group.n_weights for group in groups)
    return [
        f"stays dense: {n_weights:,} weights in blocks: {'; '.join(listed)}; "
        f"details: mlprune check model {shlex.quote(model.path)}"
    ]


def vocabulary_lines(plan: Plan, store: Store) -> list[str]:
    """One line per smaller vocabulary: its tokens and weights, as bounds until they are chosen, and its export."""
    lines = Counter(_vocabulary_line(job, store) for job in plan.jobs if isinstance(job, VocabularyJob))
    return [line if n == 1 else f"{line}; {n} variants" for line, n in lines.items()]


def few_texts_lines(jobs: Sequence[Job]) -> list[str]:
    """Return a warning if perplexity is measured on too few texts for the stated coverage of its intervals."""
    tasks = {as_run(one.task) for job in jobs if isinstance(job, EvaluateJob) for one in job.evaluations}
    sizes = sorted(len(task_data(task).items) for task in tasks if task.definition.reads == "sentences")
    if not sizes or sizes[0] >= ENOUGH_TEXTS:
        return []
    return [
        f"warning: perplexity on {sizes[0]} items; below {ENOUGH_TEXTS}, 95 % intervals of a loss that few items cause "
        "cover only 86 to 93 % and end too low (docs/definitions.md, Perplexity)"
    ]


def _runs(cost: JobCost) -> str:
    return f"{cost.n_runs} passes over the experts of every block, " if cost.n_runs > 1 else ""


def _set_text(job: DemonstrateJob) -> str:
    return " ".join(filter(None, (job.spec.kind, "-".join(job.spec.languages))))


def _vocabulary_line(job: VocabularyJob, store: Store) -> str:
    sizes, record, size = model_sizes(job.variant.model), store.read_record(*job.identity.key), job.choice.size
    n_kept, n_most, of_tokens, of_weights = sizes.n_least, sizes.n_tokens, "at least ", "at most "
    if record is not None:
        n_kept = n_most = as_int(record.rows["vocabularies"][0]["n_kept"])
        of_tokens = of_weights = ""
    elif size is not None:
        n_kept, n_most, of_tokens, of_weights = size, size, "at most ", "at least "
    keeps = " ".join(parameter_words(dict(job.variant.settings)))
    share = sizes.n_removed_weights(n_kept) / sizes.n_weights
    return (
        f"vocabulary {keeps}: {of_tokens}{n_kept:,} of {sizes.n_tokens:,} tokens stay, "
        f"{of_weights}{share:.1%} of all weights go; an export holds at most {format_size(sizes.export_bytes(n_most))} "
        "of rows in memory"
    )
