"""What a plan will need: memory of a worker, disk, and time, from sizes alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from mlprune.evaluation.classify import PreparedTask
from mlprune.models.checkpoint import WeightFiles, weight_name
from mlprune.models.families import FAMILIES
from mlprune.plan.planning import Plan
from mlprune.steps.demonstrate import DemonstrateJob, SetSpec
from mlprune.steps.evaluate import EvaluateJob, prepared_task
from mlprune.steps.jobs import Job
from mlprune.steps.observe import ObserveJob
from mlprune.steps.prune import OrderBlockJob
from mlprune.steps.sweep import SweepJob

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
PROCESS_GIB = 0.6
"""Resident memory of a worker before it loads a model: Python, torch and transformers (measured: 0.5 to 0.6)."""


@dataclass(frozen=True)
class Estimate:
    """Needs of the jobs that are left."""

    memory_gib_per_worker: float
    disk_gib: float
    compute_s: float
    """Seconds of matrix products, on one worker, at the rate measured here."""


@dataclass(frozen=True)
class _Model:
    """Sizes of the base model."""

    n_weights: int
    n_in_blocks: int
    """Prunable weights of all blocks."""
    n_inputs: int
    """Features of the distinct inputs of one block."""
    widest: int
    """Features of the widest of them."""


def estimate(plan: Plan, jobs: Sequence[Job]) -> Estimate:
    """What the given jobs of a plan need."""
    model = _sizes(plan)
    batch_tokens = plan.recipe.compute.planned_batch_tokens
    weights = model.n_weights * DTYPE_BYTES[plan.model.dtype]
    one_block = model.n_in_blocks / plan.model.n_blocks * (DTYPE_BYTES[plan.model.dtype] + 1)
    hidden = batch_tokens * model.widest * 16
    sets = {one.identity.id: one.spec for one in plan.jobs if isinstance(one, DemonstrateJob)}
    flops = 2.0 * model.n_weights * sum(_tokens(sets, job) for job in jobs)
    return Estimate(
        memory_gib_per_worker=PROCESS_GIB + (weights + one_block + hidden) / 2**30,
        disk_gib=sum(_disk_bytes(sets, model, job) for job in jobs) / 2**30,
        compute_s=flops / matmul_rate(),
    )


def _sizes(plan: Plan) -> _Model:
    """From the headers of the weight files; all blocks are taken to be like the first."""
    family = FAMILIES[plan.model.family]
    files = WeightFiles(Path(plan.model.path), family)
    layers = {layer: files.shape(weight_name(family, 0, layer)) for layer in family.layers}
    inputs = [layers[name][0 if family.transposed else 1] for name in family.input_names]
    return _Model(
        n_weights=sum(prod(files.shape(name)) for name in files.names),
        n_in_blocks=plan.model.n_blocks * sum(prod(shape) for shape in layers.values()),
        n_inputs=sum(inputs),
        widest=max(inputs),
    )


def _tokens(sets: dict[str, SetSpec], job: Job) -> int:
    """Tokens a job runs through the model, padding included, at most."""
    if isinstance(job, ObserveJob) and job.demonstration_set_id in sets:
        spec = sets[job.demonstration_set_id]
        return spec.samples * spec.max_tokens
    if isinstance(job, SweepJob):
        ids = (*job.variant.set_ids, job.variant.contrast_set_id)
        return sum(2 * sets[one].samples * sets[one].max_tokens for one in ids if one in sets)
    if isinstance(job, EvaluateJob):
        return sum(_task_tokens(job, index) for index in range(len(job.evaluations)))
    return 0


def _task_tokens(job: EvaluateJob, index: int) -> int:
    prepared = prepared_task(job.evaluations[index].task, job.model, job.batch_tokens)
    if isinstance(prepared, PreparedTask):
        return sum(planned.n_computed for planned in prepared.batches)
    return sum(len(ids) + prepared.max_new_tokens for ids in prepared.token_ids)


def _disk_bytes(sets: dict[str, SetSpec], model: _Model, job: Job) -> float:
    """Bytes a job leaves in the store, before compression."""
    if isinstance(job, ObserveJob) and job.demonstration_set_id in sets:
        return 4.0 * sets[job.demonstration_set_id].samples * model.n_inputs * job.model.n_blocks
    if isinstance(job, SweepJob):
        return model.n_in_blocks / 8
    if isinstance(job, OrderBlockJob):
        return model.n_in_blocks / job.model.n_blocks * len(job.ordering.sparsities).bit_length() / 8
    return 20_000.0


def matmul_rate() -> float:
    """Floating-point operations a second of one thread of this machine, from 50 ms of matrix products."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        left, right = torch.ones(256, 1024), torch.ones(1024, 1024)
        n_products, started = 0, time.perf_counter()
        while time.perf_counter() - started < 0.05:
            left @ right
            n_products += 1
        return n_products * 2.0 * 256 * 1024 * 1024 / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(n_threads)
