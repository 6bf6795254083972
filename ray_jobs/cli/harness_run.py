"""Run tasks of lm-evaluation-harness on variants of a store and print the results as a table."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer

from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.evaluation.harness.task_requests import HarnessTask, load_tasks
from mlprune.models.local_chain import local_chain
from mlprune.parallel import set_worker_threads
from mlprune.steps.base_model import find_base_model, require_base_model
from mlprune.steps.evaluate.harness import Evaluated, HarnessOptions, run_harness
from mlprune.steps.job import ModelRef
from mlprune.steps.variant_names import find_variants
from mlprune.store.store import Store
from mlprune.vocabulary import DtypeName
from ray_jobs.driver.provenance import recorded_run

HEADING = "variant               task                      metric               filter     value      stderr"


@dataclass(frozen=True)
class HarnessArguments:
    """Arguments of the command, except the variants and the store."""

    tasks: tuple[str, ...]
    include_path: Path | None
    limit: int | None
    num_fewshot: int | None
    batch_tokens: int
    dtype: DtypeName
    model: Path | None


def parse_tasks(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of task names.

    Raises:
        BadInputError: the list is empty.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise BadInputError("no task is named", option="--tasks", expected="task[,task ...]", got=text)
    return names


def run_harness_command(store: Store, names: Sequence[str], arguments: HarnessArguments) -> Iterator[str]:
    """Run the tasks; yields a heading, then one line per metric as soon as it is computed.

    Raises:
        BadInputError: a variant, task, folder or model cannot be used. Nothing is written if this is found before the
            first task runs.
    """
    variant_ids = find_variants(store, names)
    models = list(_models(store, variant_ids, arguments))
    if arguments.include_path is not None and not arguments.include_path.is_dir():
        path = str(arguments.include_path)
        raise BadInputError("not a folder of task files", option="--include-path", expected="a folder", got=path)
    tasks = load_tasks(arguments.tasks, include_path=arguments.include_path, num_fewshot=arguments.num_fewshot)
    set_worker_threads(len(os.sched_getaffinity(0)))
    yield HEADING
    with recorded_run(store, "harness") as recording:
        for model, ids in models:
            for evaluated in _run(recording, model, ids, tasks=tasks, arguments=arguments):
                yield from _lines(evaluated)
    with Catalog.open(store) as catalog:
        catalog.fold()


def _run(
    store: Store,
    model: ModelRef,
    variant_ids: Sequence[str],
    *,
    tasks: Sequence[HarnessTask],
    arguments: HarnessArguments,
) -> Iterable[Evaluated]:
    """Run the tasks on the variants of one base model and report progress on stderr."""
    chain = cache(lambda: local_chain(Path(model.path), dtype=model.dtype))
    options = HarnessOptions(arguments.limit, arguments.batch_tokens)
    results = run_harness(store, chain, model=model, variant_ids=variant_ids, tasks=tasks, options=options)
    n_total = len(variant_ids) * len(tasks)
    for n_done, evaluated in enumerate(results, start=1):
        state = "already done" if evaluated.existed else "done"
        typer.echo(f"{n_done} of {n_total}: {evaluated.variant_id} {evaluated.task} {state}", err=True)
        yield evaluated


def _models(
    store: Store, variant_ids: Sequence[str], arguments: HarnessArguments
) -> Iterator[tuple[ModelRef, list[str]]]:
    """Yield each base model with the ids of its variants, in the given order."""
    by_model: dict[str, list[str]] = {}
    for variant_id in variant_ids:
        by_model.setdefault(store.require("variants", variant_id).parent("base_model"), []).append(variant_id)
    for base_model_id, ids in by_model.items():
        folder = arguments.model or find_base_model(store, base_model_id)
        info = require_base_model(folder, base_model_id)
        path = str(folder.absolute())
        yield ModelRef(base_model_id, path, info.family, info.n_blocks, info.max_positions, arguments.dtype), ids


def _lines(evaluated: Evaluated) -> Iterator[str]:
    """Format the metrics of one variant on one task."""
    for row in evaluated.record.rows.get("harness_results", ()):
        stderr = "" if row["stderr"] is None else f"{row['stderr']:.4f}"
        names = f"{row['variant_id']:21} {row['task']:25} {row['metric']:20} {row['filter']:10}"
        yield f"{names} {row['value']:<10.4f} {stderr}".rstrip()
