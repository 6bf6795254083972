"""Run a benchmark script on its tiny model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def small_figures(script: str, folder: Path, *options: str) -> dict[str, Any]:
    """Figures that a script of this folder writes with `--small`.

    Args:
        script: its file name.
        folder: where the figures are written.
    """
    out = folder / "figures.json"
    command = [sys.executable, str(Path(__file__).with_name(script)), "--small", "--out", str(out), *options]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return json.loads(out.read_text("utf-8"))
