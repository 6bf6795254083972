"""Labels of nodes against selectors."""

import pytest

from ray_jobs.workers.nodes.node_labels import has_labels

LABELS = {"ray.io/accelerator-type": "H100", "zone": "a"}


@pytest.mark.parametrize(
    ("selector", "is_match"),
    [
        ({}, True),
        ({"zone": "a"}, True),
        ({"zone": "b"}, False),
        ({"zone": "!b"}, True),
        ({"zone": "!a"}, False),
        ({"ray.io/accelerator-type": "in(A100, H100)", "zone": "a"}, True),
        ({"ray.io/accelerator-type": "in(A100,H200)"}, False),
        ({"ray.io/accelerator-type": "!in(A100, H200)"}, True),
        ({"pool": "spot"}, False),
        ({"pool": "!spot"}, True),
    ],
)
def test_a_node_matches_if_all_of_its_labels_do(selector: dict[str, str], is_match: bool) -> None:
    assert has_labels(LABELS, selector) == is_match
