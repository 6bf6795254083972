"""Thin entry point for `ray job submit --working-dir . -- python ray_jobs/run.py RECIPE --store URI`.

It works from an uninstalled working directory and uses the cluster that the job runs on. It takes the options of
`mlprune run` and has its exit codes. After `ray job stop`, submit the same job again to resume.
"""

import os
import sys
from pathlib import Path

LOG_COLUMNS = "1000"
"""Terminal width of a job, so that its log has one line per event."""


def command(arguments: list[str]) -> list[str]:
    """Build the `mlprune run` command line from the arguments of a submitted job."""
    has_address = any(argument.split("=")[0] == "--address" for argument in arguments)
    return ["mlprune", "run", *arguments, *([] if has_address else ["--address", "auto"])]


def main() -> None:
    """Run the recipe of a submitted job."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from ray_jobs.cli.application import main as run  # noqa: PLC0415 - needs the working directory on the path

    os.environ.setdefault("COLUMNS", LOG_COLUMNS)
    sys.argv = command(sys.argv[1:])
    run()


if __name__ == "__main__":
    main()
