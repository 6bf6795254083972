"""Machines that a user describes, so that a recipe can be planned for a cluster from anywhere."""

import re
from collections.abc import Mapping, Sequence

from mlprune.errors import BadInputError, unknown
from mlprune.plan.node_capacity import Gpu, Node
from mlprune.plan.pool import GIB

EXAMPLE = "4:cpus=16,gib=64 or 2:cpus=32,gib=256,gpus=8,gpu_gib=80"
KEYS = ("cpus", "gib", "gpus", "gpu_gib")
_NODES = re.compile(r"(?P<n>[1-9]\d{0,4}):(?P<resources>\S+)")
_NUMBER = re.compile(r"\d{1,9}(\.\d+)?")


def parse_nodes(texts: Sequence[str]) -> list[Node]:
    """Parse descriptions of machines, such as `4:cpus=16,gib=64`: four machines with 16 CPUs and 64 GiB each.

    Raises:
        BadInputError: a description has another form.
    """
    return [node for text in texts for node in _parse(text)]


def _parse(text: str) -> list[Node]:
    match = _NODES.fullmatch(text)
    if match is None:
        raise BadInputError("the description of machines has another form", expected=EXAMPLE, got=text)
    resources: dict[str, float] = {}
    for part in match["resources"].split(","):
        key, _, number = part.partition("=")
        if key not in KEYS:
            raise unknown("resource of a machine", key, KEYS, error=BadInputError)
        if _NUMBER.fullmatch(number) is None or key in resources:
            raise BadInputError("a resource of a machine is not one number", key=key, expected=EXAMPLE, got=text)
        resources[key] = float(number)
    return [_node(resources, text)] * int(match["n"])


def _node(resources: Mapping[str, float], text: str) -> Node:
    if not resources.get("cpus") or not resources.get("gib") or ("gpus" in resources) != ("gpu_gib" in resources):
        expected = f"cpus and gib, and both of gpus and gpu_gib or none: {EXAMPLE}"
        raise BadInputError("the resources of a machine are incomplete", expected=expected, got=text)
    gpus = (Gpu(int(resources.get("gpu_gib", 0) * GIB)),) * int(resources.get("gpus", 0))
    return Node(resources["cpus"], int(resources["gib"] * GIB), gpus)
