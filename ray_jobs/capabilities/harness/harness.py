"""`mlprune harness`: run tasks of lm-evaluation-harness on variants."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mlprune.errors import BadInputError
from ray_jobs.cli import options
from ray_jobs.process.installed import install_command

DEFAULT_BATCH_TOKENS = 4096


def harness(
    variants: options.VariantsArgument,
    *,
    task: Annotated[
        list[str], typer.Option(help="Task, group or tag of the harness, or several separated by commas; repeatable.")
    ],
    store: options.StoreOption,
    include_path: Annotated[Path | None, typer.Option(help="Folder with your own task files.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N documents of each task.")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, help="Few-shot examples, for tasks that allow another number than their own.")
    ] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Approximate tokens per batch.")] = DEFAULT_BATCH_TOKENS,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16 (fp32, bf16, fp16); by default that of the variant."),
    ] = None,
    model: options.ModelOption = None,
    address: options.AddressOption = "none",
    shards: Annotated[
        int | None, typer.Option(min=1, help="Actors that share the blocks of the model; by default as few as fit.")
    ] = None,
    memory_gib_per_actor: Annotated[
        float | None, typer.Option(min=0.01, help="Memory of each process with weights; by default what it needs.")
    ] = None,
) -> None:
    """Run tasks of lm-evaluation-harness on variants. The dense weights are loaded once for all variants.

    Results go to the catalog tables harness_evaluations and harness_results, samples to Parquet files of the store.
    After an interruption, rerun the same command: finished tasks are skipped.

    \b
    Examples:
      mlprune harness dense fr-en --task xnli_fr --task xnli_en --store runs/
      mlprune harness fr-en --task xnli_fr --store runs/ --address auto --shards 4
    """
    if find_spec("lm_eval") is None:
        message = "lm-evaluation-harness is not installed"
        raise BadInputError(message, expected=install_command("harness"), got="no module lm_eval")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # libraries read it when they import their progress bars
    from ray_jobs.capabilities.harness.harness_run import HarnessArguments, parse_tasks, run_harness_command  # noqa: PLC0415 - loads torch

    arguments = HarnessArguments(
        parse_tasks(",".join(task)),
        include_path,
        limit,
        num_fewshot,
        batch_tokens,
        None if dtype is None else options.parse_dtype(dtype),
        model,
        address,
        shards,
        memory_gib_per_actor,
    )
    for line in run_harness_command(options.existing_store(store), variants, arguments):
        options.echo(line)
