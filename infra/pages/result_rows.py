"""Rows of the table of methods by language that come from the frozen stores."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from mlprune.errors import MlpruneError
from ray_jobs.cli.application import app

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "rows"


class RowSource(NamedTuple):
    """The command that writes a row."""

    store: str
    """Name of the frozen store."""
    variant: str
    options: tuple[str, ...] = ()


ROWS: Mapping[str, RowSource] = {
    **{
        f"gemma-3-270m-{name}": RowSource("comparison-languages", name)
        for name in (
            "magnitude",
            "wanda",
            "ria",
            "sparsegpt",
            "swaps",
            "wanda-on-mix",
            "swaps-on-mix",
            "wanda-24-on-mix",
        )
    },
    **{f"gemma-3-270m-{bits}-bits": RowSource("comparison-languages", f"{bits} bits") for bits in (8, 4)},
    **{
        f"smollm2-135m-{name}": RowSource("comparison", name)
        for name in ("magnitude", "wanda", "sparsegpt", "swaps", "wanda-on-english", "swaps-on-english")
    },
    **{
        f"gemma-3-270m-40-{text}": RowSource("which-text", f"wanda {text} 0.4, budget of 8000 tokens")
        for text in ("sw-en", "hi-en", "en")
    },
    **{
        f"demo-model-{name.partition(',')[0].replace(' ', '-')}": RowSource("study", name, ("--metric", "accuracy"))
        for name in ("random 0.4", "magnitude 0.4", "wanda sw-en 0.4, budget of 4000 tokens")
    },
}
"""Name of a file -> its source."""


def write_rows(store: str, root: str, folder: Path) -> None:
    """Write the rows of a frozen store.

    Args:
        root: where the store is unpacked.
        folder: the folder of the rows.
    Raises:
        MlpruneError: a command fails.
    """
    for name, source in ROWS.items():
        if source.store == store:
            out = str(folder / f"{name}.json")
            words = ["export", source.variant, "--as", "row", *source.options, "--out", out, "--store", root]
            done = CliRunner().invoke(app, words)
            if done.exit_code != 0:
                raise MlpruneError("a row cannot be written", command=words, reason=done.output or repr(done.exception))
