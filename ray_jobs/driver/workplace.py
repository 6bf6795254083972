"""Machines and workers of a run.

The workers are this process, a Ray of this machine, or a cluster. Ray and model code are imported only where they are
used.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlprune.errors import BadInputError
from mlprune.methods.plugins import required_plugins
from mlprune.models.checkpoint.content_hashes import file_sha256
from mlprune.models.checkpoint.weight_files import INDEX_FILE
from mlprune.models.loading import SMALL_FILES, inspect_model
from mlprune.planning import Plan
from mlprune.planning.resources.estimate import Needs
from mlprune.planning.resources.node_capacity import Node, Pool
from mlprune.recipe.models import Recipe, called_methods
from mlprune.store.store import Store
from ray_jobs.driver.capacity_checks import in_process_pool, local_ray_pool, object_store_gib
from ray_jobs.workers.node_resources import LocalRay, local_node
from ray_jobs.workers.pool_interface import Workers
from ray_jobs.workers.required_files import NONE, ModelFiles, Requirements
from ray_jobs.workers.run_metrics import NO_METRICS, Metrics, RayMetrics

if TYPE_CHECKING:
    from ray_jobs.workers.cluster_nodes import NodeList

logger = logging.getLogger(__name__)
LOCAL_ADDRESSES = ("none", "local")
"""Addresses of this machine; others name a cluster."""


def model_files(folder: Path) -> ModelFiles:
    """Describe the files of a model that a run reads: config, tokenizer, index and weights."""
    small = [name for name in (*SMALL_FILES, INDEX_FILE) if (folder / name).exists()]
    names = sorted({*inspect_model(folder).content, *small})
    sizes = {name: (folder / name).stat().st_size for name in names}
    return ModelFiles(str(folder), sizes, {name: file_sha256(folder / name) for name in sorted(small)})


class Machines(NamedTuple):
    """Machines of a run."""

    nodes: Sequence[Node]
    node_list: "NodeList | None" = None
    """Lists the nodes of a cluster again; None for this machine."""

    def processors(self) -> Mapping[str, int]:
        """Return processor -> number of nodes of the connected cluster; empty for this machine."""
        if self.node_list is None:
            return {}
        from ray_jobs.workers.cluster_nodes import count_processors  # noqa: PLC0415 - imports Ray

        return count_processors(self.node_list())


@contextmanager
def machines(address: str, labels: Mapping[str, str]) -> Iterator[Machines]:
    """List the machines of a run; a cluster stays connected. They determine an automatic device and dtype.

    Args:
        labels: selectors of the nodes of a cluster that may be used.
    Raises:
        BadInputError: the cluster cannot be reached, or has no such node.
    """
    if address in LOCAL_ADDRESSES:
        yield Machines([local_node()])
        return
    from ray_jobs.workers import cluster  # noqa: PLC0415 - imports Ray
    from ray_jobs.workers.cluster_nodes import NodeList  # noqa: PLC0415 - imports Ray

    with cluster.connected(address):
        node_list = NodeList(labels)
        yield Machines([node.resources for node in node_list.required()], node_list)


@contextmanager
def open_workers(
    plan: Plan, store: Store, address: str, *, needs: Needs, cluster_nodes: "NodeList | None"
) -> Iterator[tuple[Workers, Pool]]:
    """Open the workers at an address, with their pool; a cluster is connected already.

    Args:
        cluster_nodes: lists the nodes of the cluster; None for this machine.
    Raises:
        BadInputError: the model does not fit there, or a node of the cluster lacks it or a plug-in.
    """
    if address == "none":
        from ray_jobs.workers.in_process import InProcessWorkers  # noqa: PLC0415

        pool = in_process_pool(needs)
        yield InProcessWorkers(store.uri, plan.model, pool), pool
        return
    settings = local_ray_settings(plan.recipe, address=address)
    if address == "local":
        needs = replace(needs, compute=needs.compute.model_copy(update={"node_labels": {}}))
        local_ray_pool(needs)
        prefer_loopback()
    from ray_jobs.workers import cluster, ray_pool  # noqa: PLC0415 - imports Ray
    from ray_jobs.workers import cluster_nodes as node_checks  # noqa: PLC0415 - imports Ray
    from ray_jobs.workers.cluster_nodes import NodeList, Scaling  # noqa: PLC0415 - imports Ray

    with nullcontext() if cluster_nodes else cluster.connected(address, settings):
        node_list = cluster_nodes or NodeList()
        nodes = node_list.required()
        requirements = _requirements(plan) if cluster_nodes else NONE
        if cluster_nodes:
            node_checks.require_on_nodes(requirements, nodes)
        pool = needs.pool([node.resources for node in nodes])
        is_fixed = needs.compute.replicas != "auto"
        scaling = Scaling(pool, cluster_nodes, is_fixed=is_fixed)
        workers = ray_pool.RayWorkers(store.uri, plan.model, pool, needs=requirements, scaling=scaling)
        try:
            yield workers, pool
        finally:
            workers.close()


def _requirements(plan: Plan) -> Requirements:
    """Return what every node of a cluster must have for a run."""

    files = tuple(model_files(Path(model.path)) for model in plan.models)
    return Requirements(files, tuple(required_plugins(called_methods(plan.recipe))))


def local_ray_settings(recipe: Recipe, *, address: str) -> LocalRay:
    """Return the settings of a Ray that starts on this machine, and create its folder of spilled objects.

    Raises:
        BadInputError: the folder cannot be created or written.
    """
    compute = recipe.compute
    if address != "local":
        if compute.spill_dir is not None or compute.object_store_gib != "auto":
            logger.warning("compute.spill_dir and object_store_gib are ignored on a cluster: give them to ray start")
        return LocalRay()
    folder = None if compute.spill_dir is None else recipe.resolve(compute.spill_dir)
    if folder is not None:
        _require_folder(folder)
    return LocalRay(object_store_gib(compute), folder)


def _require_folder(folder: Path) -> None:
    """Create a folder for spilled objects.

    Raises:
        BadInputError: it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "it is read-only"
    except OSError as err:
        reason = str(err.strerror)
    if reason:
        raise BadInputError(
            "Ray cannot write to its folder of spilled objects",
            key="compute.spill_dir",
            path=str(folder),
            reason=reason,
            next="choose a folder on a local disk, or leave the key out",
        )


def prefer_loopback() -> None:
    """Let a Ray on this machine use its loopback address, not that of the network; Ray reads this when imported."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def open_metrics(address: str, run_id: str, *, recipe: str, pool: Pool) -> Metrics:
    """Return the metrics of a run, which a connected Ray exports.

    Args:
        recipe: name of the recipe.
    """
    return NO_METRICS if address == "none" else RayMetrics(run_id, recipe, n_workers=pool.n_workers)
