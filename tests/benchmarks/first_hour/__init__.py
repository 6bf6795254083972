"""The first hour on a machine with a GPU: eight measurements of what was only computed before (infra/gpu)."""
