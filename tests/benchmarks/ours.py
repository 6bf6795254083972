"""The mlprune side: run a recipe in one process with two threads, as a user does.

The measured time starts with reading the recipe and ends with the last record of a variant. It includes hashing and
reading the model, tokenising, observing, statistics files, orderings, mask files and records. Comparisons between
variants are not part of pruning and are excluded on both sides.
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from mlprune.models.local_chain import local_chain
from mlprune.planning import build_plan, pending_jobs
from mlprune.processes.parallel import set_worker_threads
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.recipe.loading import load_recipe
from mlprune.steps.job import Job
from mlprune.steps.variants.variant_rows import StoredMasks, stored_masks
from mlprune.store.records import Record
from mlprune.store.store import Store

N_THREADS = 2


@dataclass(frozen=True)
class RecipeSeconds:
    """Seconds of a recipe by step."""

    total: float
    steps: dict[str, float]
    """Step -> seconds; `plan` opens and hashes the inputs of the recipe."""
    n_variants: int
    """Number of variants, without the dense one."""

    def as_dict(self) -> dict[str, Any]:
        steps = {step: round(seconds, 3) for step, seconds in self.steps.items()}
        return {"total": round(self.total, 3), "steps": steps, "n_variants": self.n_variants}


def prune_by_recipe(recipe_path: Path, store_folder: Path) -> RecipeSeconds:
    """Plan a recipe and run the jobs that its variants depend on."""
    torch.set_num_threads(1)
    set_worker_threads(N_THREADS)
    started = perf_counter()
    plan, store = build_plan(load_recipe(recipe_path)), Store(store_folder)
    jobs = pending_jobs(pruning_jobs(plan.jobs), store)
    store.write_record(plan.record)
    steps = {"plan": perf_counter() - started}
    chain = functools.cache(lambda: local_chain(Path(plan.model.path), dtype=plan.model.dtype))
    for job in jobs:
        began = perf_counter()
        job.run(store, chain)
        steps[job.step] = steps.get(job.step, 0.0) + perf_counter() - began
    total = perf_counter() - started
    return RecipeSeconds(total, steps, n_variants=len(plan.variants) - 1)


def pruning_jobs(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """The jobs that make variants and all jobs they depend on, in the given order."""
    jobs = tuple(jobs)
    makers = {key: job for job in jobs for key in job.makes}
    waiting = [job for job in jobs if any(kind == "variants" for kind, _ in job.makes)]
    wanted: set[int] = set()
    while waiting:
        job = waiting.pop()
        if id(job) not in wanted:
            wanted.add(id(job))
            waiting += [makers[key] for key in job.needs if key in makers]
    return tuple(job for job in jobs if id(job) in wanted)


def demonstrated(recipe_path: Path, store_folder: Path) -> list[list[int]]:
    """Token ids of the single demonstration set of a recipe, without running its model."""
    plan, store = build_plan(load_recipe(recipe_path)), Store(store_folder)
    for job in plan.jobs:
        if job.step == "demonstrate":
            job.run(store, lambda: local_chain(Path(plan.model.path), dtype=plan.model.dtype))
    record = next(iter(store.records("demonstration_sets")))
    return [[int(token) for token in ids] for ids in store.read_table(record.artefacts[0])["token_ids"]]


def n_real_tokens(store_folder: Path) -> list[int]:
    """Number of tokens of every demonstration in a store."""
    store = Store(store_folder)
    tables = [store.read_table(record.artefacts[0]) for record in store.records("demonstration_sets")]
    return [len(ids) for table in tables for ids in table["token_ids"]]


def mask_bytes(store_folder: Path) -> int:
    """Total size of the mask files of a store."""
    return sum(path.stat().st_size for path in (store_folder / "masks").rglob("*.parquet"))


def removed_by_layer(store_folder: Path) -> Iterator[tuple[float, int, str, Tensor]]:
    """(sparsity, block, layer, bool [out, in] True where removed) of the variants of a store, one block at a time."""
    store = Store(store_folder)
    found = [_sparsity_and_masks(store, record) for record in store.records("variants")]
    variants = sorted((one for one in found if one is not None), key=lambda one: one[0])
    for block in range(len(variants[0][1].masks)):
        for sparsity, stored in variants:
            for layer, kept in read_keep_masks(store.uri, *stored.files[block]).items():
                yield sparsity, block, layer, ~kept


def _sparsity_and_masks(store: Store, record: Record) -> tuple[float, StoredMasks] | None:
    """Sparsity and masks of a variant, or None for the dense variant."""
    stored = stored_masks(store, record)
    return (record.rows["variants"][0]["sparsity"], stored) if stored else None
