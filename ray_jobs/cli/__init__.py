"""The command line."""

from ray_jobs.cli.application import app, main

__all__ = ["app", "main"]
