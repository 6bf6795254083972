"""What the jobs of a plan need: pool, memory, disk and time, with hints for a better pool."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlprune.counted import counted, format_time
from mlprune.planning.resources.estimate import Needs, busiest_flops, estimate_duration, trials_seconds
from mlprune.planning.resources.node_capacity import GIB, Node, Pool, format_node, format_pool, n_fitting
from mlprune.planning.resources.rates import (
    GPU_KINDS,
    Rates,
    measure_gpu_rates,
    measure_rates,
    recognised_kind,
    stated_gpu_rates,
)
from mlprune.steps.trials_cost import Seconds

NOT_INCLUDED = "start-up and small jobs not included"


@dataclass(frozen=True)
class PlannedMachines:
    """The machines for which a recipe is planned."""

    nodes: Sequence[Node]
    n_cpus: int
    """CPUs of this process, with which the rates of CPUs are measured."""
    is_here: bool = False
    """Whether the only node is this machine, whose accelerator can be measured."""
    processors: Mapping[str, int] = field(default_factory=dict)
    """Processor -> number of nodes of a running cluster."""


def needs_lines(
    needs: Needs,
    pool: Pool,
    machines: PlannedMachines,
    *,
    of_trials: Callable[[Seconds], Iterable[str]] = lambda _: (),
) -> list[str]:
    """Describe the pool on its machines and what the pending jobs need, one line each.

    Args:
        pool: planned for the machines.
        of_trials: describes trials and probes, of which some jobs may be done, and others not be planned yet.
    """
    usable = [node for node in machines.nodes if _room(pool, node)]
    rates = _rates(needs, pool, usable, machines)
    return [
        f"pool:   {format_pool(pool)}",
        *_node_lines(pool, machines),
        *_memory_lines(pool, usable),
        *_traffic_lines(needs, pool),
        f"disk:   about {needs.disk_gib:.3f} GiB more in the store",
        *_time_lines(needs, pool, rates, machines),
        *of_trials(lambda trials: trials_seconds(trials, needs, pool=pool, rates=rates)),
        *(f"hint:   {hint}" for hint in _hints(needs, pool, machines.nodes)),
    ]


def _room(pool: Pool, node: Node) -> int:
    """Return the number of actors of the pool for which a node has room."""
    return n_fitting(node, pool.actor) if node.n_cpus > 0 else 0


def _node_lines(pool: Pool, machines: PlannedMachines) -> list[str]:
    """One line per kind of node of a cluster, with the number of actors for which it has room."""
    if machines.is_here:
        return []
    counts = Counter((format_node(node), _room(pool, node)) for node in machines.nodes)
    return [
        f"nodes:  {n} x ({node}): room for {counted(room, 'actor')}{' each' if n > 1 else ''}"
        for (node, room), n in counts.items()
    ]


def _memory_lines(pool: Pool, usable: Sequence[Node]) -> list[str]:
    """Memory of an actor and of an accelerator."""
    blocks = "all in memory"
    if pool.is_offloaded:
        blocks = f"{sum(pool.resident)} in memory at a time, the others loaded from disk on demand"
    if pool.streams_experts:
        blocks = "one in memory at a time, without experts that do not fit, which are loaded from disk when they run"
    working = f"{pool.working_bytes / GIB:.2f} GiB of it for computing, in addition to the weights"
    coordinator = pool.coordinator_bytes / GIB
    forwarding = f"; {coordinator:.2f} GiB for the worker of each replica" if coordinator else ""
    total = f"{(pool.n_actors * pool.memory_bytes + pool.n_workers * pool.coordinator_bytes) / GIB:.1f} GiB in all"
    lines = [f"memory: about {pool.memory_bytes / GIB:.2f} GiB per actor, {working}{forwarding}; {total}"]
    if pool.n_gpus:
        lines.append(_accelerator_line(pool, usable))
    return [*lines, f"blocks: {pool.n_blocks}, {blocks}"]


def _accelerator_line(pool: Pool, usable: Sequence[Node]) -> str:
    """Memory and weights of the accelerators."""
    n_sharing = int(1 / pool.n_gpus + 1e-9) if pool.n_gpus < 1 else 1
    weights, working = pool.device_weight_bytes, pool.accelerators.working_bytes
    smallest = min(node.gpu_bytes for node in usable)
    memory = f" of {smallest / GIB:.1f} GiB" if smallest else ""
    sharing = f" for each of {n_sharing} actors" if n_sharing > 1 else ""
    peak = f"at most {n_sharing * (weights + working) / GIB:.1f}{memory} on each"
    sizes = f"{weights / GIB:.2f} GiB of weights and {working / GIB:.2f} GiB for computing{sharing}"
    threads = f"{counted(pool.model_threads, 'thread')} per actor"
    return f"accelerators: {pool.device_blocks} of {pool.n_blocks} blocks, {peak} ({sizes}), {threads} to run the model"


def _traffic_lines(needs: Needs, pool: Pool) -> list[str]:
    """What travels between the actors."""
    if pool.n_shards > 1:
        total, at_once = needs.forwarded_gib(pool), needs.object_store_gib(pool)
        what = "hidden states and statistics from shard to shard"
        return [f"traffic: about {total:.3f} GiB of {what}, {at_once:.3f} GiB of them in Ray's object store at a time"]
    if pool.n_workers > 1:
        return ["traffic: jobs and descriptions of files; statistics of a pass or sweep that idle replicas share"]
    return []


def _time_lines(needs: Needs, pool: Pool, rates: Rates, machines: PlannedMachines) -> list[str]:
    """Time and hours of CPUs and accelerators."""
    time = estimate_duration(needs, pool, rates)
    if time is None:
        operations = f"{busiest_flops(needs, pool) / 1e12:,.1f} TFLOP on the busiest replica"
        known = f"kinds with known rates: {', '.join(GPU_KINDS)}"
        return [f"time:   unknown: the accelerators have no known rate; {operations}; {known}"]
    reading = f", reading weights {format_time(time.reading_s)}" if pool.is_offloaded else ""
    products = f"matrix products {format_time(time.products_s)} at {_format_rates(pool, rates, machines)}"
    hours = f"{time.cpu_hours(pool):.2f} CPU-hours on {pool.n_actors * pool.n_cpus:g} CPUs"
    if pool.n_gpus:
        hours = f"{time.gpu_hours(pool):.2f} GPU-hours on {pool.n_actors * pool.n_gpus:g} GPUs, {hours}"
    total = f"about {format_time(time.total_s)}{_basis(rates, machines)}"
    return [f"time:   {total}: {products}{reading}; {NOT_INCLUDED}", f"cost:   {hours}"]


def _rates(needs: Needs, pool: Pool, usable: Sequence[Node], machines: PlannedMachines) -> Rates:
    """The rates for the pool. Those of a CPU are measured here."""
    rates = measure_rates(needs.model, n_threads=machines.n_cpus)
    if not pool.n_gpus:
        return rates
    if machines.is_here:
        return replace(rates, gpu=measure_gpu_rates(needs.model, n_rows=needs.batch_tokens))
    return replace(rates, gpu=stated_gpu_rates(usable, needs.model, n_rows=needs.batch_tokens))


def _basis(rates: Rates, machines: PlannedMachines) -> str:
    """What the estimate is based on."""
    if rates.gpu is not None and not rates.gpu.is_measured:
        return ", estimated from stated rates"
    return "" if machines.is_here else " if the CPUs are as fast as here"


def _format_rates(pool: Pool, rates: Rates, machines: PlannedMachines) -> str:
    """Format the rates of the matrix products."""
    per_thread = f"{rates.thread_flops / 1e9:.0f} GFLOP/s per thread, measured with {machines.n_cpus} busy"
    per_thread += "" if machines.is_here else " on this machine"
    if rates.gpu is None or not pool.device_blocks:
        return per_thread
    text = f"{rates.gpu.flops / 1e12:.1f} TFLOP/s per accelerator ({rates.gpu.source})"
    return text if pool.device_blocks == pool.n_blocks else f"{text} and {per_thread}"


def _hints(needs: Needs, pool: Pool, nodes: Sequence[Node]) -> Iterator[str]:
    """Hints for a faster or cheaper run."""
    if pool.n_gpus:
        yield from _precision_hints(needs, nodes)
        n_gpus, n_used = sum(node.n_gpus for node in nodes), math.ceil(pool.n_actors * pool.n_gpus - 1e-9)
        if n_used < n_gpus:
            yield f"{n_gpus - n_used} of {n_gpus} GPUs are not used"
    elif any(node.gpus for node in nodes):
        yield "the GPUs are not used, because the recipe has device: cpu or gpus_per_actor: 0"
    if pool.n_gpus and pool.device_blocks < pool.n_blocks:
        n_host = pool.n_blocks - pool.device_blocks
        yield f"{n_host} of {pool.n_blocks} blocks do not fit on the GPUs and run on CPUs, which is slow"


def _precision_hints(needs: Needs, nodes: Sequence[Node]) -> Iterator[str]:
    """Hints about the dtype on accelerators."""
    model = needs.model
    gpus = {gpu for node in nodes for gpu in node.gpus}
    kinds = [GPU_KINDS[name] for gpu in gpus if (name := recognised_kind(gpu.name, gpu.memory_bytes))]
    gains = [kind.half / kind.peak(model.dtype, tf32=model.tf32) for kind in kinds]
    if model.dtype == "float32" and gains:
        other = "bfloat16" if all(kind.has_bfloat16 for kind in kinds) else "float16"
        tf32 = "" if model.tf32 or other == "float16" else " (or compute: {tf32: true})"
        yield f"float32 on a GPU is slow: model: {{dtype: {other}}}{tf32} is up to {min(gains):.0f} times faster"
    if model.dtype == "bfloat16" and not all(gpu.has_bfloat16 for gpu in gpus):
        yield "some of the GPUs do not have bfloat16 and compute as slowly as in float32"
