"""Machines that a user describes."""

import pytest

from mlprune.errors import BadInputError
from mlprune.plan.node_capacity import Gpu, Node
from ray_jobs.driver.described_nodes import parse_nodes

GIB = 2**30


def test_machines_have_cpus_memory_and_accelerators() -> None:
    assert parse_nodes(["2:cpus=16,gib=64"]) == [Node(16, 64 * GIB)] * 2
    assert parse_nodes(["1:gib=1.5,cpus=4,gpu_gib=80,gpus=8", "1:cpus=2,gib=4"]) == [
        Node(4, 3 * GIB // 2, (Gpu(80 * GIB),) * 8),
        Node(2, 4 * GIB),
    ]
    assert parse_nodes([]) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "4:cpus=16,gib=64"),
        ("cpus=4,gib=8", "4:cpus=16,gib=64"),
        ("0:cpus=4,gib=8", "4:cpus=16,gib=64"),
        ("999999999:cpus=4,gib=8", "4:cpus=16,gib=64"),
        ("2:cpu=4,gib=8", "nearest='cpus'"),
        ("2:cpus=4", "incomplete"),
        ("2:cpus=0,gib=8", "incomplete"),
        ("2:cpus=4,gib=8,gpus=1", "gpu_gib"),
        ("2:cpus=-4,gib=8", "not one number"),
        ("2:cpus=4,cpus=5,gib=8", "not one number"),
        ("2:cpus=nan,gib=8", "not one number"),
    ],
)
def test_another_form_is_one_line(text: str, part: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_nodes([text])
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
