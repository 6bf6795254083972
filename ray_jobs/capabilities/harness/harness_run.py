"""Run tasks of lm-evaluation-harness on variants of a store and print the results as a table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from catalog.store import Catalog
from catalog.stored_names import find_variants
from mlprune.capabilities.harness.harness import Evaluated, HarnessOptions, run_harness
from mlprune.capabilities.harness.task_requests import HarnessTask, load_tasks
from mlprune.errors import BadInputError
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.inputs import find_base_model, require_base_model
from mlprune.steps.job import ChainLoader, ModelRef
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import DtypeName
from ray_jobs.capabilities.harness.command_model import CommandModel
from ray_jobs.cli.options import DTYPE_NAMES, echo
from ray_jobs.driver.run_log import recorded_run

DEFAULT_DTYPE: DtypeName = "float32"
"""Dtype of variants without one, if no other variant of the command has one."""
HEADING = "variant               task                      metric               filter     value      stderr"


@dataclass(frozen=True)
class HarnessArguments:
    """Arguments of the command, except the variants and the store."""

    tasks: tuple[str, ...]
    include_path: Path | None
    limit: int | None
    num_fewshot: int | None
    batch_tokens: int
    dtype: DtypeName | None
    """None for the dtype of each variant."""
    model: Path | None
    address: str = "none"
    shards: int | None = None
    memory_gib_per_actor: float | None = None

    @property
    def compute(self) -> ComputeConfig:
        """The options as a section of a recipe."""
        return ComputeConfig(shards=self.shards or "auto", memory_gib_per_actor=self.memory_gib_per_actor or "auto")


def parse_tasks(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of task names.

    Raises:
        BadInputError: the list is empty.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise BadInputError("no task is named", option="--task", expected="task[,task ...]", got=text)
    return names


def run_harness_command(store: Store, names: Sequence[str], arguments: HarnessArguments) -> Iterator[str]:
    """Run the tasks; yields a heading, then one line per metric as soon as it is computed.

    Raises:
        BadInputError: a variant, task, folder or model cannot be used. Nothing is written if this is found before the
            first task runs.
    """
    if arguments.address == "none" and (arguments.shards or 1) > 1:
        expected = "--address local, auto or ray://..., because this process holds the whole model"
        raise BadInputError("shards need Ray", option="--shards", expected=expected, got=arguments.shards)
    variant_ids = find_variants(store, names)
    models = list(_models(store, variant_ids, arguments))
    if arguments.include_path is not None and not arguments.include_path.is_dir():
        path = str(arguments.include_path)
        raise BadInputError("not a folder of task files", option="--include-path", expected="a folder", got=path)
    tasks = load_tasks(arguments.tasks, include_path=arguments.include_path, num_fewshot=arguments.num_fewshot)
    source = CommandModel(
        "harness", store.uri, address=arguments.address, compute=arguments.compute, batch_tokens=arguments.batch_tokens
    )
    with source:
        device = source.device()
        yield HEADING
        with recorded_run(store, "harness") as recording:
            for planned, ids in models:
                model = replace(planned, device=device)
                chain = cache(partial(source.load, model))
                for evaluated in _run(recording, chain, model, variant_ids=ids, tasks=tasks, arguments=arguments):
                    yield from _lines(evaluated)
    with Catalog.open(store) as catalog:
        catalog.fold()


def _run(
    store: Store,
    chain: ChainLoader,
    model: ModelRef,
    *,
    variant_ids: Sequence[str],
    tasks: Sequence[HarnessTask],
    arguments: HarnessArguments,
) -> Iterable[Evaluated]:
    """Run the tasks on the variants of one base model and report progress on stderr."""
    options = HarnessOptions(arguments.limit, arguments.batch_tokens)
    results = run_harness(store, chain, model=model, variant_ids=variant_ids, tasks=tasks, options=options)
    n_total = len(variant_ids) * len(tasks)
    for n_done, evaluated in enumerate(results, start=1):
        state = "already done" if evaluated.existed else "done"
        echo(f"{n_done} of {n_total}: {evaluated.variant_id} {evaluated.task} {state}", err=True)
        yield evaluated


def _models(
    store: Store, variant_ids: Sequence[str], arguments: HarnessArguments
) -> Iterator[tuple[ModelRef, list[str]]]:
    """Yield each base model and dtype with the ids of its variants, in the given order; the device is not set yet."""
    by_model: dict[str, dict[str, DtypeName | None]] = {}
    for variant_id in variant_ids:
        record = store.require("variants", variant_id)
        by_model.setdefault(record.parent("base_model"), {})[variant_id] = arguments.dtype or _dtype_of(record)
    for base_model_id, dtypes in by_model.items():
        folder = arguments.model or find_base_model(store, base_model_id)
        info = require_base_model(folder, base_model_id)
        known = {dtype: None for dtype in dtypes.values() if dtype is not None}
        default = next(iter(known)) if len(known) == 1 else DEFAULT_DTYPE
        by_dtype: dict[DtypeName, list[str]] = {}
        for variant_id, dtype in dtypes.items():
            by_dtype.setdefault(dtype or default, []).append(variant_id)
        for dtype, ids in by_dtype.items():
            path = str(folder.absolute())
            yield ModelRef(base_model_id, path, info.family, info.n_blocks, info.max_positions, dtype), ids


def _dtype_of(record: Record) -> DtypeName | None:
    """Return the dtype in which a variant was made; None for one without weights of its own, such as the dense one.

    Such a variant is evaluated in the dtype of the other variants of the command, if they agree.
    """
    return next((name for name in DTYPE_NAMES if name == record.parameters.get("dtype")), None)


def _lines(evaluated: Evaluated) -> Iterator[str]:
    """Format the metrics of one variant on one task."""
    for row in evaluated.record.rows.get("harness_results", ()):
        stderr = "" if row["stderr"] is None else f"{row['stderr']:.4f}"
        names = f"{row['variant_id']:21} {row['task']:25} {row['metric']:20} {row['filter']:10}"
        yield f"{names} {row['value']:<10.4f} {stderr}".rstrip()
