"""Run the command line: `python -m ray_jobs.cli`."""

from ray_jobs.cli.application import main

if __name__ == "__main__":
    main()
