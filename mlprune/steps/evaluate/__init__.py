"""Evaluate: plan, run and record the evaluation of variants on tasks."""
