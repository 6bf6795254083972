"""The driver: runs a recipe's jobs on workers and logs the run."""
