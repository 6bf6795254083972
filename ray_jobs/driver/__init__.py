"""The driver: runs a recipe's jobs on workers and records how the run went."""
