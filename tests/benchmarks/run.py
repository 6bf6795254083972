"""Measure the benchmark table in one run on one machine. The rows are described in docs/running.md.

python tests/benchmarks/run.py --out benchmarks.json        the whole table
python tests/benchmarks/run.py --only mask --only ten       some rows
python tests/benchmarks/run.py --small                      a tiny model, to check that the benchmark runs
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import SIZES, Bench
from command_line import option_parser, write_figures
from conditions import machine, moment
from rows import HEAD, ROWS, Row


def main() -> None:
    """Measure, print the table and write the figures."""
    options = _options()
    started = moment()
    with tempfile.TemporaryDirectory(prefix="mlprune-benchmarks-", dir=options.folder) as folder:
        size = SIZES["small" if options.small else "full"]
        bench = Bench(Path(folder), size, repeat=options.repeat, log=lambda words: print(words, file=sys.stderr))
        bench.rate()
        rows = [row for name in options.only or ROWS for row in ROWS[name](bench)]
    conditions = {**machine(), "started": started, "ended": moment(), "repeat": options.repeat}
    print(_table(rows, conditions, bench.found, is_small=options.small))
    write_figures(options.out, conditions=conditions, rows=[row.as_dict() for row in rows], measurements=bench.found)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--only", action="append", choices=sorted(ROWS), help="measure only this row; repeatable")
    parser.add_argument("--repeat", type=int, default=1, help="repeat each timed run N times and report the median")
    parser.add_argument(
        "--folder", type=Path, help="parent of the temporary folder, which needs 6 GB for the whole table"
    )
    return parser.parse_args()


def _table(rows: list[Row], conditions: dict[str, Any], found: dict[str, Any], *, is_small: bool) -> str:
    """Format the table and the conditions in Markdown."""
    rate = found["rate"]
    lines = ["**A tiny model: these figures mean nothing.**", ""] if is_small else []
    lines += [HEAD, *(row.line for row in rows), ""]
    lines += [
        f"Measured {conditions['started']['at'][:10]} on {conditions['cores']} cores of {conditions['cpu']}"
        f" (load before: {conditions['started']['load_1min']}, runs each: {conditions['repeat']});"
        f" torch {conditions['torch']}, transformers {conditions['transformers']}, numba {conditions['numba']},"
        f" Python {conditions['python']}. Our layers run at {rate['float32']['layers']:.0f} GFLOP/s in float32 and"
        f" {rate['bfloat16']['layers']:.0f} in bfloat16, torch's products, with both cores in each, at"
        f" {rate['float32']['torch']:.0f} and {rate['bfloat16']['torch']:.0f}.",
    ]
    if "loop_float32" in found:
        loop = found["loop_float32"]
        parts = ", ".join(f"{part} {loop[part]:.1f}" for part in ("forward", "norms", "score", "sort", "mask"))
        lines += ["", f"Wanda's loop, {loop['total']:.1f} s: {parts}."]
    for name in ("sequential", "dense", "ten", "ten_bfloat16", "hundred", "hundred_bfloat16"):
        if name in found:
            parts = ", ".join(f"{step} {seconds:.1f}" for step, seconds in found[name]["steps"].items())
            lines += ["", f"Ours, {name}, {found[name]['total']:.1f} s: {parts}."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
