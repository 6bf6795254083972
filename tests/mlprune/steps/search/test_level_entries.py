"""The shortest entry with given levels."""

import pytest

from mlprune.json_values import JsonValue
from mlprune.steps.search.level_entries import level_keys

Q, UP = "self_attn.q_proj", "fc1"


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((0.5, 0.5, 0.5, 0.5), {"sparsity": 0.5}),
        ((0.3, 0.3, 0.7, 0.7), {"sparsity": 0.6, "schedule": {"blocks": {"0": 0.3, "1": 0.7}}}),
        ((0.3, 0.3, 0.6, 0.6), {"sparsity": 0.6, "schedule": {"blocks": {"0": 0.3}}}),
        ((0.3, 0.7, 0.3, 0.7), {"sparsity": 0.6, "schedule": {"layers": {Q: 0.3, UP: 0.7}}}),
        (
            (0.3, 0.7, 0.6, 0.6),
            {"sparsity": 0.6, "schedule": {"block_layers": {f"0.{Q}": 0.3, f"0.{UP}": 0.7}}},
        ),
    ],
)
def test_the_form_depends_on_the_levels_alone(levels: tuple[float, ...], expected: dict[str, JsonValue]) -> None:
    layers = [(block, layer) for block in (0, 1) for layer in (Q, UP)]
    assert level_keys(dict(zip(layers, levels, strict=True)), sparsity=0.6) == expected
