"""Descriptions of the machines of a cluster, so that a recipe can be planned for it from anywhere.

    cluster   = group {"+" group}
    group     = [number "x"] "(" resource {"," resource} ")"
    resource  = number "CPU"
              | number "GiB"                            memory of the machine
              | number KIND                             accelerators of a kind in `GPU_KINDS`
              | number "GPU" number "GiB"               accelerators of another kind, with their memory

For example `8x(16 CPU, 100 GiB, 1 A100-80GB) + (4 CPU, 16 GiB)`. Of the memory, Ray reserves a part for its object
store, as `ray start` does by default; actors have the remainder.
"""

import re

from mlprune.errors import BadInputError
from mlprune.planning.resources.node_capacity import GIB, Gpu, Node
from mlprune.planning.resources.rates import GPU_KINDS, named_kind

EXAMPLE = "8x(16 CPU, 100 GiB, 1 A100-80GB)"
MAX_MACHINES, MAX_GPUS = 1_000, 64
"""Most machines of a cluster and most accelerators of a machine."""
OBJECT_STORE_SHARE, OBJECT_STORE_BYTES = 0.3, 200 * 10**9
"""Ray's defaults: the share of a machine's memory for the object store, and its upper limit."""
_GROUP = re.compile(r"(?:(?P<n>\d+)\s*x\s*)?\((?P<resources>[^()]*)\)", re.IGNORECASE)
_RESOURCE = re.compile(r"(?P<n>\d{1,9}(?:\.\d{1,6})?)\s*(?P<what>\S.*)")
_CPU = re.compile(r"v?cpus?|cores?", re.IGNORECASE)
_MEMORY = re.compile(r"(?P<unit>[MGT]i?)B", re.IGNORECASE)
_OTHER_GPU = re.compile(r"gpus?(?:\s+(?P<gib>\d{1,6}(?:\.\d{1,3})?)\s*GiB)?", re.IGNORECASE)
_UNIT_BYTES = {"gi": GIB, "ti": 1024 * GIB}


def parse_cluster(text: str) -> list[Node]:
    """Parse the description of a cluster; equal machines follow each other.

    Raises:
        BadInputError: the description has another form, or a kind of accelerator is unknown.
    """
    nodes: list[Node] = []
    for part in re.split(r"\+(?![^()]*\))", text):
        match = _GROUP.fullmatch(part.strip())
        if match is None:
            raise _problem("a group of machines has another form", part)
        n = int(match["n"] or 1)
        if not 1 <= n <= MAX_MACHINES - len(nodes):
            raise BadInputError("the number of machines is out of range", expected=f"1 to {MAX_MACHINES:,}", got=n)
        nodes += [_machine(match["resources"])] * n
    return nodes


def _machine(text: str) -> Node:
    """The machine with these resources, as the planner sees it.

    Raises:
        BadInputError: a resource has another form or comes twice, or CPUs or memory are missing.
    """
    cpus: float | None = None
    memory_bytes: int | None = None
    gpus: tuple[Gpu, ...] | None = None
    for resource in map(str.strip, text.split(",")):
        match = _RESOURCE.fullmatch(resource)
        if match is None:
            raise _problem("a resource of a machine has another form", resource)
        n, what = float(match["n"]), match["what"]
        is_cpus, memory = _CPU.fullmatch(what), _MEMORY.fullmatch(what)
        if (cpus if is_cpus else memory_bytes if memory else gpus) is not None:
            raise _problem("a machine has a resource twice", resource)
        if is_cpus:
            cpus = n
        elif memory is None:
            gpus = _gpus(n, what, resource)
        elif (unit := memory["unit"].lower()) in _UNIT_BYTES:
            memory_bytes = int(n * _UNIT_BYTES[unit])
        else:
            raise _problem("the memory of a machine is not in GiB or TiB", resource)
    if not memory_bytes or cpus is None:
        raise _problem(f"a machine has no {'memory in GiB' if cpus is not None else 'CPUs'}", text)
    object_store_bytes = min(int(memory_bytes * OBJECT_STORE_SHARE), OBJECT_STORE_BYTES)
    return Node(cpus, memory_bytes - object_store_bytes, gpus or ())


def _gpus(n: float, what: str, resource: str) -> tuple[Gpu, ...]:
    """The accelerators of a machine.

    Raises:
        BadInputError: the kind or its memory is unknown, or the number is not a whole one.
    """
    if n != int(n) or n > MAX_GPUS:
        raise BadInputError("not a number of accelerators", expected=f"0 to {MAX_GPUS}", got=resource)
    if other := _OTHER_GPU.fullmatch(what):
        if other["gib"] is None:
            raise _problem("an accelerator has neither kind nor memory", resource)
        return (Gpu(int(float(other["gib"]) * GIB)),) * int(n)
    name = named_kind(what)
    kind = GPU_KINDS[name]
    return (Gpu(kind.memory_bytes, name, kind.has_bfloat16),) * int(n)


def _problem(message: str, got: str) -> BadInputError:
    expected = f"{EXAMPLE}; groups are joined by +; other accelerators: 2 GPU 24 GiB"
    return BadInputError(message, expected=expected, got=got.strip())
