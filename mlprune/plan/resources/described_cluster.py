"""Machines of a described cluster, and the assignment of the actors of a pool to nodes.

Descriptions of the machines of a cluster, so that a recipe can be planned for it from anywhere.

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
from mlprune.plan.resources.node_capacity import GIB, Gpu, Node
from mlprune.plan.resources.rates import GPU_KINDS, named_kind

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
        nodes += [_Machine(match["resources"]).node()] * n
    return nodes


class _Machine:
    """The resources of a machine that are read so far."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._cpus: float | None = None
        self._memory_bytes: int | None = None
        self._gpus: tuple[Gpu, ...] | None = None
        for resource in text.split(","):
            self._read(resource.strip())

    def node(self) -> Node:
        """The machine as the planner sees it.

        Raises:
            BadInputError: CPUs or memory are missing.
        """
        if not self._memory_bytes or self._cpus is None:
            missing = "memory in GiB" if self._cpus is not None else "CPUs"
            raise _problem(f"a machine has no {missing}", self._text)
        return Node(self._cpus, offered_bytes(self._memory_bytes), self._gpus or ())

    def _read(self, resource: str) -> None:
        match = _RESOURCE.fullmatch(resource)
        if match is None:
            raise _problem("a resource of a machine has another form", resource)
        n, what = float(match["n"]), match["what"]
        if _CPU.fullmatch(what):
            self._require_new(resource, is_given=self._cpus is not None)
            self._cpus = n
        elif unit := _MEMORY.fullmatch(what):
            self._require_new(resource, is_given=self._memory_bytes is not None)
            if unit["unit"].lower() not in _UNIT_BYTES:
                raise _problem("the memory of a machine is not in GiB or TiB", resource)
            self._memory_bytes = int(n * _UNIT_BYTES[unit["unit"].lower()])
        else:
            self._require_new(resource, is_given=self._gpus is not None)
            self._gpus = _gpus(n, what, resource)

    def _require_new(self, resource: str, *, is_given: bool) -> None:
        if is_given:
            raise _problem("a machine has a resource twice", resource)


def offered_bytes(memory_bytes: int) -> int:
    """Return the part of a machine's memory that Ray offers to actors by default."""
    return memory_bytes - min(int(memory_bytes * OBJECT_STORE_SHARE), OBJECT_STORE_BYTES)


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
