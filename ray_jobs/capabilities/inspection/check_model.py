"""`mlprune check model`: show what of a model can be pruned, before any work."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from mlprune.counted import counted
from mlprune.errors import BadInputError, ModelError, unknown
from mlprune.hub import format_size
from ray_jobs.cli.known_words import complete_one_of
from ray_jobs.cli.options import echo, screen_width, show_start

if TYPE_CHECKING:
    from mlprune.capabilities.inspection.model_report import BlockKind, ModelReport, Units
    from mlprune.models.model_layers import DenseGroup

FORMATS = ("table", "json")
LABELS = {
    "prunable": "layers of blocks, prunable",
    "dense": "other matrices of blocks, dense",
    "vectors": "biases and norms of blocks",
    "embeddings": "embeddings",
    "tail": "after the blocks",
    "head": "head",
}
"""Group of weights -> what the user reads."""
MOST_RANGES = 10
"""Most ranges of blocks in the text; JSON has all."""
MOST_NAMES = 5
"""Most names of parameters that stay dense for one reason in the text; JSON has all."""


def check(
    model: Annotated[str, typer.Argument(help="Model folder; config.json is enough.")],
    *,
    format_: Annotated[
        str, typer.Option("--format", help="table for people, or json.", autocompletion=complete_one_of(*FORMATS))
    ] = "table",
) -> None:
    """Show what of a model can be pruned, before any work.

    It shows kinds of block, layers that read the same input, what stays dense, the number of weights, and whether the
    files fit each other. The values of weights are not read, and nothing is written. Exit code 2 means that a recipe
    would be refused.

    Example: mlprune check model models/xglm-564M
    """
    if format_ not in FORMATS:
        raise unknown("format", format_, FORMATS, error=BadInputError, option="--format")
    folder = Path(model).expanduser()
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        next_step = "mlprune import SOURCE --out FOLDER makes a model folder from a hub id or a GGUF file"
        raise ModelError("the model path is not a folder", path=model, expected="a folder", got=got, next=next_step)
    show_start(f"examining {model}")
    from mlprune.capabilities.inspection.model_report import report_model  # noqa: PLC0415 - loads torch and transformers

    report = report_model(folder)
    echo(_as_json(report) if format_ == "json" else describe_model(report, width=screen_width()))


def _as_json(report: "ModelReport") -> str:
    return json.dumps({"verdict": verdict(report), **asdict(report), "n_weights": report.n_weights}, indent=1)


def verdict(report: "ModelReport") -> str:
    """Return in one line what of the model can be pruned."""
    condition = "" if report.has_weights else " (no weights yet)"
    n, total = _large_numbers(report.weights["prunable"], report.n_weights)
    return f"can be pruned{condition}: {counted(report.n_blocks, 'block')}, {n} of {total} weights"


def describe_model(report: "ModelReport", *, width: int) -> str:
    """Describe a model in lines of at most `width` cells, as far as names of layers allow it."""
    sentences = [
        verdict(report),
        *_properties(report),
        *_weight_lines(report),
        *_block_lines(report.kinds, report.window),
    ]
    sentences += _unit_lines(report.kinds)
    sentences += _dense_lines(report.dense)
    return "\n".join(
        line
        for sentence in sentences
        for line in wrap(sentence, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    )


def _properties(report: "ModelReport") -> Iterator[str]:
    size = "no weights yet" if report.n_bytes is None else f"{format_size(report.n_bytes)} on disk"
    dtypes = " and ".join(report.dtypes) or "dtype not stated"
    yield f"model: {report.model_type}, hidden size {report.hidden_size}, {dtypes}, {size}"
    longest = "no limit" if report.max_positions is None else f"{report.max_positions:,} tokens"
    template = "yes" if report.has_chat_template else "no" if report.has_tokenizer else "no tokenizer yet"
    yield f"longest text: {longest}; chat template: {template}"
    for name, source in report.tied:
        yield f"tied weights: {name} is {source}"


def _weight_lines(report: "ModelReport") -> Iterator[str]:
    yield "weights:"
    groups = {LABELS[group]: n for group, n in report.weights.items() if n}
    for label, n in groups.items():
        yield f"  {label:{max(map(len, groups))}}  {n:>{len(f'{report.n_weights:,}')},}  {n / report.n_weights:6.1%}"


def _block_lines(kinds: "Sequence[BlockKind]", window: int | None) -> Iterator[str]:
    """Name the blocks of each kind; kinds with the same layers share their groups."""
    by_inputs: dict[tuple[tuple[str, ...], ...], list[BlockKind]] = {}
    for kind in kinds:
        by_inputs.setdefault(kind.inputs, []).append(kind)
    for inputs, members in by_inputs.items():
        for kind in members:
            name = kind.name.replace("_", " ")
            tokens = f" ({window:,} tokens)" if window and "sliding" in name else ""
            yield f"{counted(len(kind.blocks), 'block')} with {name}{tokens}: {block_numbers(kind.blocks)}"
        yield "  layers that read one input:"
        for group in inputs:
            yield f"    {', '.join(group)}"


def _unit_lines(kinds: "Sequence[BlockKind]") -> Iterator[str]:
    """Say how many heads and neurons can be removed, once for all kinds that agree."""
    for name in ("heads", "neurons"):
        names_of: dict[str, dict[str, None]] = {}
        for kind in kinds:
            units: Units = getattr(kind, name)
            text = f"cannot be removed one by one: {units.reason}" if units.reason else _count_text(units)
            names_of.setdefault(text, {})[kind.name.replace("_", " ")] = None
        for text, names in names_of.items():
            where = "" if len(names_of) == 1 else f" ({', '.join(names)})"
            yield f"{name}{where}: {text}"


def _count_text(units: "Units") -> str:
    counts = units.counts
    n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"{n} removable in each block"


def _dense_lines(dense: "Sequence[DenseGroup]") -> Iterator[str]:
    """Name the parameters that stay dense, one line per reason."""
    if not dense:
        yield "stays dense in blocks: only biases and norms"
    by_reason: dict[str, list[DenseGroup]] = {}
    for group in dense:
        by_reason.setdefault(group.reason, []).append(group)
    for reason, groups in by_reason.items():
        names = ", ".join(group.name for group in groups[:MOST_NAMES])
        more = f" and {len(groups) - MOST_NAMES} more" if len(groups) > MOST_NAMES else ""
        n_blocks = len({block for group in groups for block in group.blocks})
        n_weights = sum(group.n_weights for group in groups)
        yield f"stays dense: {names}{more}, {n_weights:,} weights in {counted(n_blocks, 'block')}: {reason}"


def block_numbers(blocks: "Sequence[int]") -> str:
    """Return ascending block numbers as ranges, such as `0-3, 5-8`, shortened if there are many."""
    starts = [blocks[0], *(later for earlier, later in pairwise(blocks) if later != earlier + 1)]
    stops = [*(earlier for earlier, later in pairwise(blocks) if later != earlier + 1), blocks[-1]]
    ranges = [f"{start}" if start == stop else f"{start}-{stop}" for start, stop in zip(starts, stops, strict=True)]
    if len(ranges) > MOST_RANGES:
        ranges = [*ranges[: MOST_RANGES - 2], "...", ranges[-1]]
    return ", ".join(ranges)


def _large_numbers(n: int, total: int) -> tuple[str, str]:
    """Return two numbers with three digits, in millions or billions if the larger one is that large."""
    for unit, name in ((10**9, "billion"), (10**6, "million")):
        if total >= unit:
            return _three_digits(n / unit), f"{_three_digits(total / unit)} {name}"
    return f"{n:,}", f"{total:,}"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
