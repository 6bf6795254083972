"""Thin entry point for `ray job submit --working-dir . -- python ray_jobs/run.py RECIPE --store URI`.

Works from an uninstalled working directory; the cluster is the one the job runs on.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from ray_jobs.cli import main

    arguments = sys.argv[1:]
    sys.argv = ["mlprune", "run", *arguments, *([] if "--address" in arguments else ["--address", "auto"])]
    main()
