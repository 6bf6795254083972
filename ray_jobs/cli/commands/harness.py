"""`mlprune harness`: tasks of lm-evaluation-harness on variants of a store."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlprune.errors import BadInputError

if TYPE_CHECKING:
    from mlprune.steps.evaluate.harness import Evaluated
    from mlprune.steps.job import ModelRef
    from mlprune.store.store import Store
    from mlprune.vocabulary import DtypeName

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class _Order:
    """What the command line asks for, beside variants and store."""

    tasks: tuple[str, ...]
    include_path: Path | None
    limit: int | None
    num_fewshot: int | None
    batch_tokens: int
    dtype: "DtypeName"
    model: Path | None


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("harness")(harness)


def harness(
    variants: Annotated[list[str], typer.Argument(help="Ids of variants, or names that a recipe gives them.")],
    *,
    tasks: Annotated[str, typer.Option(help="Tasks, groups or tags of the harness, separated by commas.")],
    store: Annotated[str, typer.Option(help="Folder or object-store URI that holds records and artefacts.")],
    include_path: Annotated[Path | None, typer.Option(help="A folder of task files of your own.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Documents from the start of each task's split.")] = None,
    num_fewshot: Annotated[int | None, typer.Option(min=0, help="Shots, where a task does not forbid them.")] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="About the most tokens run together.")] = BATCH_TOKENS,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    model: Annotated[Path | None, typer.Option(help="The base model's folder, if it is not where it was.")] = None,
) -> None:
    """Run tasks of lm-evaluation-harness on variants; the dense weights are loaded once for all of them.

    Results go to the catalog (tables harness_evaluations and harness_results), answers to Parquet files of the store.
    Run again, it does what is left.

    Example: mlprune harness dense fr-en --tasks xnli_fr,xnli_en --store runs/
    """
    _check_installed()
    names = tuple(name for name in (one.strip() for one in tasks.split(",")) if name)
    if not names:
        raise BadInputError("no task is named", option="--tasks", expected="task[,task ...]", got=tasks)
    order = _Order(names, include_path, limit, num_fewshot, batch_tokens, _dtype(dtype), model)
    lines = run_harness_command(store, variants, order)
    for line in lines:
        typer.echo(line)


def run_harness_command(store_uri: str, names: Sequence[str], order: _Order) -> Iterator[str]:
    """Carry it out; yields a line of results for each metric as soon as it is there, a heading first.

    Raises:
        BadInputError: a variant, task, folder or model cannot be used; of what is found before anything is run, nothing
            was written.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # read when the progress bars of libraries are imported
    from mlprune.evaluation.harness.task_requests import load_tasks  # noqa: PLC0415 - slow to import
    from mlprune.parallel import set_worker_threads  # noqa: PLC0415
    from mlprune.steps.evaluate.harness import find_variants  # noqa: PLC0415
    from ray_jobs.cli.application import _existing  # noqa: PLC0415
    from ray_jobs.driver.provenance import noted  # noqa: PLC0415

    opened = _existing(store_uri)
    variant_ids = find_variants(opened, names)
    models = list(_models(opened, variant_ids, order))
    if order.include_path is not None and not order.include_path.is_dir():
        got = str(order.include_path)
        raise BadInputError("the task files are in no folder", option="--include-path", expected="a folder", got=got)
    loaded = load_tasks(order.tasks, include_path=order.include_path, num_fewshot=order.num_fewshot)
    set_worker_threads(len(os.sched_getaffinity(0)))
    yield "variant               task                      metric               filter     value      stderr"
    with noted(opened, "harness") as writing:
        for model, own in models:
            for found in _run(writing, model, own, tasks=loaded, order=order):
                yield from _lines(found)
    _fold(opened)


def _run(
    store: "Store", model: "ModelRef", variant_ids: Sequence[str], *, tasks: Sequence[Any], order: _Order
) -> "Iterable[Evaluated]":
    """Run the tasks on variants of one base model, saying on stderr how far it is."""
    from mlprune.models.local_chain import local_chain  # noqa: PLC0415
    from mlprune.steps.evaluate.harness import HarnessOptions, run_harness  # noqa: PLC0415

    chain = cache(lambda: local_chain(Path(model.path), dtype=model.dtype))
    options = HarnessOptions(order.limit, order.batch_tokens)
    evaluated = run_harness(store, chain, model=model, variant_ids=variant_ids, tasks=tasks, options=options)
    for done, found in enumerate(evaluated, start=1):
        how = "was done" if found.was_there else "done"
        typer.echo(f"{done} of {len(variant_ids) * len(tasks)}: {found.variant_id} {found.task} {how}", err=True)
        yield found


def _models(store: "Store", variant_ids: Sequence[str], order: _Order) -> "Iterator[tuple[ModelRef, list[str]]]":
    """The base models of the variants, each with its own variants, in the order given."""
    from mlprune.models.loading import inspect_model  # noqa: PLC0415
    from mlprune.steps.export.export import find_base_model  # noqa: PLC0415
    from mlprune.steps.job import ModelRef, make_identity  # noqa: PLC0415

    by_model: dict[str, list[str]] = {}
    for variant_id in variant_ids:
        by_model.setdefault(store.require("variants", variant_id).parents["base_model"], []).append(variant_id)
    for base_model_id, own in by_model.items():
        folder = order.model or find_base_model(store, base_model_id)
        info = inspect_model(folder)
        found = make_identity("base_models", contents=info.content).id
        if found != base_model_id:
            message = "the folder holds another model than the variants were made from"
            raise BadInputError(message, path=str(folder), expected=base_model_id, got=found)
        path, positions = str(folder.absolute()), info.max_positions
        yield ModelRef(base_model_id, path, info.family, info.n_blocks, positions, order.dtype), own


def _lines(found: "Evaluated") -> Iterator[str]:
    for row in found.record.rows.get("harness_results", ()):
        stderr = "" if row["stderr"] is None else f"{row['stderr']:.4f}"
        words = f"{row['variant_id']:21} {row['task']:25} {row['metric']:20} {row['filter']:10}"
        yield f"{words} {row['value']:<10.4f} {stderr}".rstrip()


def _fold(store: "Store") -> None:
    """Bring the catalog up to date; if somebody holds it, whoever asks next does."""
    from catalog.store import Catalog  # noqa: PLC0415

    with Catalog.open(store) as catalog:
        catalog.fold()


def _dtype(name: str) -> "DtypeName":
    from mlprune.models.checkpoint.weight_files import DTYPES  # noqa: PLC0415

    found = next((one for one in DTYPES if one == name), None)
    if found is None:
        raise BadInputError("unknown dtype", option="--dtype", expected=tuple(DTYPES), got=name)
    return found


def _check_installed() -> None:
    if find_spec("lm_eval") is None:
        message = "lm-evaluation-harness is not installed"
        raise BadInputError(message, expected="pip install 'mlprune[harness]'", got="no module lm_eval")
