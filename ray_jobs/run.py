"""Thin entry point for `ray job submit --working-dir . -- python ray_jobs/run.py RECIPE --store URI`.

Works from an uninstalled working directory; the cluster is the one the job runs on. All that `mlprune run` takes may
follow, and exit codes are its own. What `ray job stop` ends, the same submission finishes.
"""

import os
import sys
from pathlib import Path

LOG_COLUMNS = "1000"
"""A job's log has no width: one event, one line."""


def command(arguments: list[str]) -> list[str]:
    """The command line of `mlprune run` that stands for the arguments of a submitted job."""
    has_address = any(one == "--address" or one.startswith("--address=") for one in arguments)
    return ["mlprune", "run", *arguments, *([] if has_address else ["--address", "auto"])]


def main() -> None:
    """Run the recipe of a submitted job."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from ray_jobs.cli.application import main as run  # noqa: PLC0415 - found only now that the working directory is on the path

    os.environ.setdefault("COLUMNS", LOG_COLUMNS)
    sys.argv = command(sys.argv[1:])
    run()


if __name__ == "__main__":
    main()
