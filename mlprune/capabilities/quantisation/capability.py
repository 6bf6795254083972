"""Quantisation: weights that are rounded to few levels, when a variant is applied or as stored codes."""

from collections.abc import Iterator

from mlprune.capabilities.capability import Capability, Planned, Variants
from mlprune.capabilities.quantisation.coded import add_coded, code_jobs
from mlprune.capabilities.quantisation.quantise import add_quantised, quantise_jobs
from mlprune.steps.job import Job


def _derived(planned: Planned, variants: Variants) -> Variants:
    return add_coded(planned, add_quantised(planned, variants))


def _jobs(planned: Planned) -> Iterator[Job]:
    yield from quantise_jobs(planned)
    yield from code_jobs(planned)


CAPABILITY = Capability("quantisation", derived=_derived, make=_jobs)
