"""Measure on a GPU what was only computed before, each question in a process of its own.

python -m tests.benchmarks.first_hour --out first-hour.json           all, about half an hour
python -m tests.benchmarks.first_hour --only memory                   one; repeatable
python -m tests.benchmarks.first_hour --pretend                       tiny, on a pretended GPU, to try the scripts

A measurement that fails or takes more than ten minutes is written down as such, and the next one begins. The file is
complete after every measurement.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlprune.atomic import write_atomically

LIMIT_S = 600


def main(arguments: list[str] | None = None) -> int:
    """Run measurements, print one line for each and write all figures; returns 1 if one failed."""
    options = _options(arguments)
    if options.child:
        return _measure_here(options)
    from tests.benchmarks.first_hour.measurements import MEASUREMENTS  # noqa: PLC0415 - children load it themselves

    names, found = options.only or list(MEASUREMENTS), {}
    with tempfile.TemporaryDirectory(prefix="mlprune-first-hour-", dir=options.folder) as folder:
        for name in names:
            found[name] = _measure(name, MEASUREMENTS[name].environment, Path(folder), options)
            line = found[name].get("answer") or f"FAILED: {found[name]['failed']}"
            print(f"{name} ({found[name]['seconds']:.0f} s): {line}", flush=True)
            if options.out:
                write_atomically(options.out, (json.dumps(found, indent=1) + "\n").encode())
    return int(any("failed" in one for one in found.values()))


def _measure(name: str, environment: Any, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    out = folder / "found.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", __package__, "--child", name, "--folder", str(folder), "--out", str(out)]
    started = time.monotonic()
    try:
        completed = subprocess.run(
            [*command, *(["--pretend"] if options.pretend else [])],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        failed = None if completed.returncode == 0 else (completed.stderr.strip().splitlines() or ["no message"])[-1]
    except subprocess.TimeoutExpired:
        failed = f"more than {LIMIT_S} s"
    result = json.loads(out.read_text(encoding="utf-8")) if failed is None else {"failed": failed}
    return {**result, "seconds": time.monotonic() - started}


def _measure_here(options: argparse.Namespace) -> int:
    """Run one measurement in this process."""
    from tests.benchmarks.first_hour.measurements import MEASUREMENTS  # noqa: PLC0415 - loads torch
    from tests.benchmarks.first_hour.setting import Setting  # noqa: PLC0415
    from tests.pretended_gpus import pretended_gpus  # noqa: PLC0415

    with pretended_gpus(free_bytes=2**29) if options.pretend else nullcontext():
        found = MEASUREMENTS[options.child].run(Setting(options.folder, is_small=options.pretend))
    options.out.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", help="measure only this; repeatable")
    parser.add_argument("--pretend", action="store_true", help="tiny models on a pretended GPU")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder (20 GB)")
    parser.add_argument("--out", type=Path, help="write all figures to this file as JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
