"""Send variants to MLflow as runs: one parent run per recipe, one child run per variant.

MLflow is optional (`pip install -e '.[mlflow]'`). Results are never read back from it. Sending a variant again updates
its existing run.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from catalog.results import Row
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.hashing import digest
from mlprune.network import connection_problem

METRICS_AT_ONCE = 900
"""Number of metrics in one request; the limit of the server is 1,000."""
CONNECT_TIMEOUT_S = 5.0
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_NAME = 250
"""Longest name of a run or metric, in characters, in MLflow's databases."""
MAX_REASON = 300
"""Longest reason, in characters, that is repeated from MLflow's messages."""
ALLOW_FOLDER = "MLFLOW_ALLOW_FILE_STORE"
"""Variable without which MLflow refuses folders, which it no longer develops. A user who names a folder wants one."""
QUIET = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
"""Variable without which MLflow writes the name of every run that it ends, with emojis, to stdout: the results of the
command are there, and a stdout that is not UTF-8 raises an error."""
ID_TAG = "mlprune.id"
"""Tag that identifies a run: `<recipe>` for a parent run, `<recipe>/<variant id>` for the run of a variant."""
SNAPSHOT = "mlprune.snapshot_id"
TEXTS = ("label", "names", "demonstration_label", "settings")
"""Columns that become tags, because later recipes may change these texts and MLflow never changes a param."""


def send_to_mlflow(catalog: Catalog, *, tracking_uri: str, experiment: str) -> int:
    """Send every variant that a recipe names: its settings as params, and all its metrics.

    Args:
        tracking_uri: MLflow's tracking URI: a server, a database, or a folder.
        experiment: name of the experiment; it is created if it does not exist.
    Returns: number of variants sent. Variants that were sent from the same snapshot are skipped.
    Raises:
        BadInputError: the tracking URI is wrong or not available, or its server refuses a request.
    """
    _check_uri(tracking_uri)
    os.environ.setdefault(QUIET, "true")
    if urlsplit(tracking_uri).scheme in ("", "file"):
        os.environ.setdefault(ALLOW_FOLDER, "true")
    try:
        return _send(catalog, MlflowClient(tracking_uri=tracking_uri), experiment)
    except (MlflowException, ImportError, OSError) as err:
        reason = " ".join(str(err).split())[:MAX_REASON]
        raise BadInputError("MLflow refuses the tracking URI", tracking_uri=tracking_uri, reason=reason) from err


def _check_uri(tracking_uri: str) -> None:
    """Refuse an empty URI, for which MLflow would write to the working directory, and a server that does not answer.

    MLflow itself repeats its requests for minutes.
    """
    if not tracking_uri:
        raise BadInputError("the tracking URI is empty", expected="a server, a database or a folder", got=tracking_uri)
    try:
        address = urlsplit(tracking_uri)
        host, port = address.hostname or "", address.port or DEFAULT_PORTS.get(address.scheme, 0)
    except ValueError as err:
        raise BadInputError("the tracking URI is not an address", tracking_uri=tracking_uri, reason=str(err)) from err
    if address.scheme in DEFAULT_PORTS and (problem := connection_problem(host, port, timeout_s=CONNECT_TIMEOUT_S)):
        raise BadInputError("the tracking server cannot be reached", tracking_uri=tracking_uri, reason=problem)


def _send(catalog: Catalog, client: MlflowClient, experiment: str) -> int:
    existing = client.get_experiment_by_name(experiment)
    experiment_id = existing.experiment_id if existing else client.create_experiment(experiment)
    sink = _Sink(client, experiment_id, catalog.snapshot_id())
    metrics = _grouped_by(catalog.query(statement("sink", "metrics")), "variant_id")
    n_sent = 0
    for recipe, variants in _grouped_by(catalog.query(statement("sink", "variants")), "recipe").items():
        parent = sink.run_of(recipe, name=recipe, tags={})
        for variant in variants:
            key = f"{recipe}/{variant['variant_id']}"
            if not sink.is_current(key):
                run_id = sink.run_of(key, name=variant["label"], tags={"mlflow.parentRunId": parent})
                sink.write(run_id, variant, metrics.get(variant["variant_id"], ()))
                n_sent += 1
        sink.complete(parent)
    return n_sent


class _Sink:
    """The runs of one experiment that this module created."""

    def __init__(self, client: MlflowClient, experiment_id: str, snapshot_id: str) -> None:
        self._client, self._experiment_id, self._snapshot_id = client, experiment_id, snapshot_id
        self._runs = {run.data.tags[ID_TAG]: run for run in self._search_runs()}

    def _search_runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], f"tags.`{ID_TAG}` != ''", page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def is_current(self, key: str) -> bool:
        """Whether the run of a key was sent from this snapshot."""
        return key in self._runs and self._runs[key].data.tags.get(SNAPSHOT) == self._snapshot_id

    def run_of(self, key: str, *, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the run of a key; create the run if it does not exist."""
        if key not in self._runs:
            all_tags = {**tags, ID_TAG: key}
            self._runs[key] = self._client.create_run(self._experiment_id, run_name=_cut(name), tags=all_tags)
        return str(self._runs[key].info.run_id)

    def write(self, run_id: str, variant: Row, metrics: Sequence[Row]) -> None:
        """Write params, tags, metrics and, last, the snapshot that they come from."""
        values = {name: str(value) for name, value in variant.items() if value is not None}
        params = [Param(name, value) for name, value in values.items() if name not in TEXTS]
        tags = [RunTag(f"mlprune.{name}", values[name]) for name in TEXTS if name in values]
        self._client.log_batch(run_id, params=params, tags=tags)
        now = int(time.time() * 1000)
        entries = [Metric(_metric_name(row), row["value"], now, 0) for row in metrics if row["value"] is not None]
        for start in range(0, len(entries), METRICS_AT_ONCE):
            self._client.log_batch(run_id, metrics=entries[start : start + METRICS_AT_ONCE])
        self.complete(run_id)

    def complete(self, run_id: str) -> None:
        """Mark a run as complete for this snapshot."""
        self._client.log_batch(run_id, tags=[RunTag(SNAPSHOT, self._snapshot_id)])
        self._client.set_terminated(run_id)


def _metric_name(row: Row) -> str:
    """Return a name such as `facts/fr/test/accuracy`, followed by the evaluation's settings that are not defaults."""
    parts = (
        row["task"],
        row["language"],
        row["split"],
        row["metric"],
        row["scoring_rule"],
        row["limit"],
        row["protocol"],
    )
    return _cut("/".join(re.sub(r"[^\w\-. :]", " ", str(part)) for part in parts if part is not None))


def _cut(name: str) -> str:
    """Return a name that MLflow's databases can hold; names that differ stay different."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]} {digest(name)[:8]}"


def _grouped_by(rows: Sequence[Row], name: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return groups
