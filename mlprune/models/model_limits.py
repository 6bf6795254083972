"""Limits of what is read of a model folder: the sizes of its files, and the time and memory of a first reading.

A model folder is data of another person. Its config decides how many modules are built, its tokenizer which rules run
on a text. The largest published models need a small part of the limits.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mlprune import errors
from mlprune.errors import MlpruneError, ModelError
from mlprune.processes.limited import LimitError, Limits, TimeLimitError, is_memory_error, run_limited

MOST_MIB: Mapping[str, int] = {
    "config.json": 4,
    "generation_config.json": 4,
    "tokenizer.json": 48,
    "tokenizer_config.json": 16,
    "special_tokens_map.json": 4,
    "added_tokens.json": 16,
    "vocab.json": 32,
    "merges.txt": 32,
    "sentencepiece.bpe.model": 32,
    "spiece.model": 32,
    "tokenizer.model": 32,
    "chat_template.jinja": 1,
}
"""File of a model folder -> largest size [MiB]. Published: config.json 1 MiB with the names of 21,000 classes,
tokenizer.json 33 MiB (Gemma 3, 262,000 tokens), tokenizer_config.json 1.2 MiB, a chat template 50 kB."""
MOST_JSON_MIB = 512
"""Largest other JSON file, such as the index of the weights."""
READING = Limits(processor_s=15, memory_bytes=1280 << 20)
"""Limits of the first reading of a config or a tokenizer. A tokenizer.json of 46 MiB needs 8 s and 1.1 GiB."""


def most_mib(name: str) -> int:
    """Return the largest size of a JSON file of a model folder."""
    return MOST_MIB.get(name, MOST_JSON_MIB)


def require_sizes(folder: Path, names: Iterable[str]) -> None:
    """Check the sizes of files of a model folder, before a library reads them; missing files are skipped.

    Raises:
        ModelError: a file is too large.
    """
    for name in names:
        try:
            size = (folder / name).stat().st_size
        except OSError:
            continue
        if size > most_mib(name) << 20:
            raise ModelError(
                "a file of a model folder is too large",
                path=str(folder / name),
                expected=f"at most {most_mib(name)} MiB",
                got=f"{size / 2**20:.1f} MiB",
                next="use the file that was published with the model",
            )


def within_limits(
    what: str, compute: Callable[[], Mapping[str, Any]], *, limits: Limits | None = None, **where: object
) -> dict[str, Any]:
    """Compute something about a model folder in a child process with limits.

    Args:
        what: what is read, for the message.
        compute: returns JSON values.
        limits: by default `READING`.
        where: context of the error.
    Raises:
        MlpruneError: as `compute` raises it.
        ModelError: the limits are exceeded.
    """

    limits = limits or READING

    def answer() -> dict[str, Any]:
        try:
            return {"result": dict(compute())}
        except MlpruneError as err:
            if is_memory_error(err):
                raise
            return {"error": type(err).__name__, "message": err.message, "context": err.context}

    try:
        answered = run_limited(answer, limits)
    except LimitError as err:
        seconds, memory = f"{limits.processor_s:g} s", f"{limits.memory_bytes >> 20} MiB"
        if isinstance(err, TimeLimitError):
            message, most = f"{what} takes too long to read", f"at most {seconds} of processor time"
        else:
            message, most = f"{what} needs too much memory to read", f"at most {memory}"
        advice = "use the files that were published with the model"
        raise ModelError(message, **where, expected=most, got=str(err), next=advice) from err
    if "error" in answered:
        raise getattr(errors, answered["error"])(answered["message"], answered["context"])
    result: dict[str, Any] = answered["result"]
    return result
