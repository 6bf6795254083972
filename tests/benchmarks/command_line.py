"""Options and output files that the benchmark scripts share."""

import argparse
import json
from pathlib import Path
from typing import Any


def option_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser with the options `--out` and `--small`.

    Args:
        description: docstring of the script, whose first line the help shows.
    """
    parser = argparse.ArgumentParser(description=(description or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="write all figures and conditions to this file as JSON")
    parser.add_argument("--small", action="store_true", help="a tiny model, to check that the benchmark runs")
    return parser


def write_figures(out: Path | None, **figures: Any) -> None:
    """Write figures as JSON if `--out` names a file."""
    if out:
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
