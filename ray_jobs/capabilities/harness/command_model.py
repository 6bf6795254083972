"""The models of a command that runs without a recipe, in this process or on Ray."""

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlprune.models.chain import Chain
from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning.resources.estimate import Needs
from mlprune.planning.resources.node_capacity import accelerators_of
from mlprune.processes.parallel import set_worker_threads
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.evaluate.model_evaluation import tasks_cost
from mlprune.steps.inputs import resolved_device
from mlprune.steps.job import WHOLE_MODEL, ModelRef
from mlprune.vocabulary import DeviceName
from ray_jobs.driver.capacity_checks import in_process_pool
from ray_jobs.driver.workplace import LOCAL_ADDRESSES, model_files, prefer_loopback
from ray_jobs.workers.node_resources import local_node
from ray_jobs.workers.required_files import Requirements

if TYPE_CHECKING:
    from ray_jobs.workers.cluster_nodes import ClusterNode, NodeList


class CommandModel:
    """Loads the models of a command, one after another, within a memory budget. Close it to free what it used.

    Args:
        command: name of the command.
        store_uri: the store.
        address: `none` for this process, `local` for a Ray on this machine, or the address of a cluster.
        compute: shards and memory, as in a recipe; there is one replica.
        batch_tokens: tokens of a batch.
    """

    def __init__(
        self, command: str, store_uri: str, *, address: str, compute: ComputeConfig, batch_tokens: int
    ) -> None:
        self._command = command
        self._store_uri = store_uri
        self._address = address
        self._compute = compute.model_copy(update={"replicas": 1})
        self._batch_tokens = batch_tokens
        self._ray = ExitStack()
        self._of_model = ExitStack()
        self._n_loads = 0
        self._node_list: NodeList | None = None
        """The nodes of the Ray that is connected."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._of_model.close()
        self._ray.close()

    def device(self) -> DeviceName:
        """Return the kind of device that computes on the machines of the command; a cluster is joined to see them.

        Raises:
            BadInputError: the cluster cannot be reached.
        """
        if self._address in LOCAL_ADDRESSES:
            return resolved_device(self._compute, accelerators_of([local_node()]))
        return resolved_device(self._compute, accelerators_of([node.resources for node in self._ray_nodes()]))

    def load(self, model: ModelRef) -> Chain:
        """Load a model, after the resources of the previous one were returned.

        Raises:
            BadInputError: the model does not fit, or the cluster cannot be reached or does not see its folder.
            WorkerLostError: the cluster has no room for the shards, or lost them.
        """
        needs = self._needs(model)
        if self._address == "none":
            from ray_jobs.workers.in_process import load_model  # noqa: PLC0415 - imports the code of models

            pool = in_process_pool(needs)
            set_worker_threads(pool.model_threads)
            return load_model(model, pool)
        return self._load_on_ray(model, needs)

    def _needs(self, model: ModelRef) -> Needs:
        sizes = footprint(Path(model.path), model.dtype)
        cost = tasks_cost(self._command, sizes, (), batch_tokens=self._batch_tokens, device=model.device)
        return Needs(self._compute, model, sizes, (cost,))

    def _load_on_ray(self, model: ModelRef, needs: Needs) -> Chain:
        nodes = self._ray_nodes()
        from ray_jobs.workers import cluster_nodes  # noqa: PLC0415 - imports Ray
        from ray_jobs.workers.ray_chain import load_chain  # noqa: PLC0415
        from ray_jobs.workers.replica_actors import ReplicaPlacement, start_shards  # noqa: PLC0415

        self._of_model.close()
        self._n_loads += 1
        if self._address != "local":
            cluster_nodes.require_on_nodes(Requirements((model_files(Path(model.path)),)), nodes)
        pool = needs.pool([node.resources for node in nodes])
        name = f"{self._command} of {os.uname().nodename}, process {os.getpid()}, load {self._n_loads}"
        placement = ReplicaPlacement(pool, name=name)
        self._of_model.callback(placement.release)
        placement.wait_until_reserved()
        n_shards = min(pool.n_shards, model.n_blocks)
        shards = start_shards(placement, self._store_uri, model=model, n=n_shards)
        return load_chain(shards, model, pool, offload_level=WHOLE_MODEL)

    def _ray_nodes(self) -> "list[ClusterNode]":
        """List the nodes of Ray, which is connected the first time."""
        if self._node_list is None:
            if self._address == "local":
                prefer_loopback()
            from ray_jobs.workers import cluster  # noqa: PLC0415 - imports Ray
            from ray_jobs.workers.cluster_nodes import NodeList  # noqa: PLC0415

            self._ray.enter_context(cluster.connected(self._address))
            self._node_list = NodeList(self._compute.node_labels)
        return self._node_list.required()
