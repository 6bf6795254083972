"""Variants as runs of MLflow, for groups that look at everything there: one parent run a recipe, one run a variant.

An optional copy of the catalog (`pip install mlprune[mlflow]`), never read back. Sent again, a variant keeps its run.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from catalog.sql_files import statement
from catalog.store import Catalog

METRICS_AT_ONCE = 900
"""Metrics in one request; the server takes 1,000."""
OURS = "mlprune.id"
"""Tag of a run: the recipe, and the variant if it is one's."""
SNAPSHOT = "mlprune.snapshot_id"
TEXTS = ("label", "names", "demonstration_label", "settings")
"""Columns that become tags: MLflow refuses another value for a param, and texts may change with later recipes."""

Row = Mapping[str, Any]


def send_to_mlflow(catalog: Catalog, *, tracking_uri: str, experiment: str) -> int:
    """Send what recipes name, with settings as params and all metrics.

    Args:
        tracking_uri: as MLflow has it: a server, a database, or a folder.
        experiment: name of the experiment; it is made if there is none.
    Returns: number of variants sent; one that was sent from the same snapshot is left as it is.
    Raises:
        mlflow.exceptions.MlflowException: the place cannot be reached, or refuses something.
    """
    client = MlflowClient(tracking_uri=tracking_uri)
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    sink = _Sink(client, experiment_id, catalog.snapshot_id())
    metrics = _by(catalog.query(statement("sink", "metrics")), "variant_id")
    n_sent = 0
    for recipe, variants in _by(catalog.query(statement("sink", "variants")), "recipe").items():
        parent = sink.run(recipe, name=recipe, tags={})
        for variant in variants:
            key = f"{recipe}/{variant['variant_id']}"
            if not sink.is_current(key):
                run_id = sink.run(key, name=variant["label"], tags={"mlflow.parentRunId": parent})
                sink.fill(run_id, variant, metrics.get(variant["variant_id"], ()))
                n_sent += 1
        sink.end(parent)
    return n_sent


class _Sink:
    """The runs of one experiment that came from here."""

    def __init__(self, client: MlflowClient, experiment_id: str, snapshot_id: str) -> None:
        self._client, self._experiment_id, self._snapshot_id = client, experiment_id, snapshot_id
        self._known = {run.data.tags[OURS]: run for run in self._sent()}

    def _sent(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], f"tags.`{OURS}` != ''", page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def is_current(self, key: str) -> bool:
        """Whether a run was sent from this snapshot."""
        return key in self._known and self._known[key].data.tags.get(SNAPSHOT) == self._snapshot_id

    def run(self, key: str, *, name: str, tags: Mapping[str, str]) -> str:
        """The run of this key, made if there is none."""
        if key not in self._known:
            own = {**tags, OURS: key}
            self._known[key] = self._client.create_run(self._experiment_id, run_name=name, tags=own)
        return str(self._known[key].info.run_id)

    def fill(self, run_id: str, variant: Row, metrics: Sequence[Row]) -> None:
        """Write params, tags, metrics and, last, the snapshot that they come from."""
        values = {name: str(value) for name, value in variant.items() if value is not None}
        params = [Param(name, value) for name, value in values.items() if name not in TEXTS]
        tags = [RunTag(f"mlprune.{name}", values[name]) for name in TEXTS if name in values]
        self._client.log_batch(run_id, params=params, tags=tags)
        now = int(time.time() * 1000)
        entries = [Metric(_metric_name(row), row["value"], now, 0) for row in metrics if row["value"] is not None]
        for start in range(0, len(entries), METRICS_AT_ONCE):
            self._client.log_batch(run_id, metrics=entries[start : start + METRICS_AT_ONCE])
        self.end(run_id)

    def end(self, run_id: str) -> None:
        """Nothing more comes to this run."""
        self._client.log_batch(run_id, tags=[RunTag(SNAPSHOT, self._snapshot_id)])
        self._client.set_terminated(run_id)


def _metric_name(row: Row) -> str:
    """`facts/fr/test/accuracy`, with what of the evaluation is not as usual behind it."""
    parts = (
        row["task"],
        row["language"],
        row["split"],
        row["metric"],
        row["scoring_rule"],
        row["limit"],
        row["protocol"],
    )
    return "/".join(re.sub(r"[^\w\-. :]", " ", str(part)) for part in parts if part is not None)


def _by(rows: Sequence[Row], name: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found
