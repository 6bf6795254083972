"""Metrics of a run, which Ray exports to Prometheus: what workers have done, and how much is left.

`infra/monitoring/grafana-dashboard.json` shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from mlprune.steps.job import Job
from ray_jobs.workers.worker import Outcome

RUN_TAGS = ("run", "recipe")
"""Tags of every metric: id of the run and name of its recipe."""


@dataclass(frozen=True)
class MetricSpec:
    """One metric. Ray adds the prefix `ray_`, and `_total` to the names of counters."""

    kind: Literal["counter", "gauge"]
    description: str
    tags: tuple[str, ...] = ()

    def exported(self, name: str) -> str:
        """Return the name in Prometheus."""
        return f"ray_{name}_total" if self.kind == "counter" else f"ray_{name}"


METRICS: Mapping[str, MetricSpec] = {
    "mlprune_attempts": MetricSpec("counter", "Attempts of jobs that have ended", ("step", "status")),
    "mlprune_job_seconds": MetricSpec("counter", "Time that workers spent on attempts", ("step",)),
    "mlprune_tokens": MetricSpec("counter", "Tokens that entered the model, padding included", ("step",)),
    "mlprune_bytes": MetricSpec("counter", "Bytes of files that jobs have written to the store", ("step",)),
    "mlprune_retries": MetricSpec("counter", "Attempts after which the job is tried again", ("step",)),
    "mlprune_halvings": MetricSpec("counter", "Retries with batches of half the size", ("step",)),
    "mlprune_jobs_waiting": MetricSpec("gauge", "Jobs that wait for a worker or for other jobs"),
    "mlprune_jobs_running": MetricSpec("gauge", "Jobs that run"),
    "mlprune_workers": MetricSpec("gauge", "Replicas of the run, those that wait for a node included"),
}


class Metrics(Protocol):
    """Counts what happens in a run."""

    def count_attempt(self, job: Job, outcome: Outcome, *, status: str, retry: Job | None = None) -> None:
        """Count an attempt of a job that has ended.

        Args:
            retry: what is tried next; None if nothing is.
        """

    def set_load(self, *, n_waiting: int, n_running: int) -> None:
        """Set the number of jobs that wait and that run."""

    def set_workers(self, n_workers: int) -> None:
        """Set the number of workers."""


class NoMetrics:
    """Counts nothing: without Ray, no metrics are exported."""

    def count_attempt(self, job: Job, outcome: Outcome, *, status: str, retry: Job | None = None) -> None:
        """See `Metrics.count_attempt`."""

    def set_load(self, *, n_waiting: int, n_running: int) -> None:
        """See `Metrics.set_load`."""

    def set_workers(self, n_workers: int) -> None:
        """See `Metrics.set_workers`."""


NO_METRICS = NoMetrics()


class RayMetrics:
    """Metrics of a run in the connected Ray.

    Args:
        run_id: the run.
        recipe: its name.
        n_workers: number of replicas at the start.
    """

    def __init__(self, run_id: str, recipe: str, *, n_workers: int) -> None:
        from ray.util import metrics  # noqa: PLC0415 - without Ray, this module is imported, too

        kinds = {"counter": metrics.Counter, "gauge": metrics.Gauge}
        self._metrics = {
            name: kinds[spec.kind](name, description=spec.description, tag_keys=(*RUN_TAGS, *spec.tags))
            for name, spec in METRICS.items()
        }
        for metric in self._metrics.values():
            metric.set_default_tags({"run": run_id, "recipe": recipe})
        self.set_workers(n_workers)

    def count_attempt(self, job: Job, outcome: Outcome, *, status: str, retry: Job | None = None) -> None:
        """See `Metrics.count_attempt`."""
        self._count("mlprune_attempts", 1, step=job.step, status=status)
        self._count("mlprune_job_seconds", outcome.elapsed_s, step=job.step)
        self._count("mlprune_tokens", outcome.n_tokens, step=job.step)
        self._count("mlprune_bytes", outcome.n_bytes, step=job.step)
        if retry is not None:
            self._count("mlprune_retries", 1, step=job.step)
            self._count("mlprune_halvings", int(retry.n_halvings > job.n_halvings), step=job.step)

    def set_load(self, *, n_waiting: int, n_running: int) -> None:
        """See `Metrics.set_load`."""
        self._metrics["mlprune_jobs_waiting"].set(n_waiting)
        self._metrics["mlprune_jobs_running"].set(n_running)

    def set_workers(self, n_workers: int) -> None:
        """See `Metrics.set_workers`."""
        self._metrics["mlprune_workers"].set(n_workers)

    def _count(self, name: str, value: float, **tags: str) -> None:
        if value > 0:  # Ray refuses to add zero
            self._metrics[name].inc(value, tags=tags)
