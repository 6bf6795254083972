"""Costs of a dense pass block by block."""

import pytest

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job_cost import SetSize, block_flops
from mlprune.steps.observe.block_pass.cost import block_pass_cost
from mlprune.steps.observe.cost import statistics_cost

D, WIDE = 4096, 16384
XGLM_7_5B = Footprint(
    before=2**21,
    blocks=(4 * (4 * D**2 + 2 * D * WIDE),) * 32,
    tail=2**21,
    tied=0,
    on_demand=0,
    prunable=(D * WIDE,) * 2 + (D**2,) * 4,
    widest=WIDE,
    hidden=D,
    inputs=3 * D + WIDE,
    vocabulary=256_008,
    itemsize=4,
    input_products=3 * D**2 + WIDE**2,
)
SET = SetSize(n_tokens=100 * 512, n_demonstrations=100)


def test_gram_matrices_of_a_7_5b_model_take_41_gb_on_disk_and_two_matrices_of_a_block_in_memory() -> None:
    usual = statistics_cost("observe", XGLM_7_5B, SET, batch_tokens=512)
    cost = block_pass_cost("observe", XGLM_7_5B, SET, batch_tokens=512, observed=("products",))
    assert 40.5e9 < cost.disk_bytes - usual.disk_bytes < 41e9
    matrices, states = 8 * XGLM_7_5B.input_products, SET.n_tokens * D * 4
    assert 2 * matrices + states < cost.fixed_bytes < 2.1 * matrices + states + 2**28
    assert cost.device_fixed_bytes == matrices + states
    # 3 d^2 + (4 d)^2 products of features, against 12 d^2 weights of a block, twice
    assert cost.flops / block_flops(XGLM_7_5B, SET.n_tokens) == pytest.approx(1 + 19 / 24)


def test_sums_are_small_and_gradients_take_as_long_as_five_more_passes() -> None:
    plain, sums, gradients = (
        block_pass_cost("observe", XGLM_7_5B, SET, batch_tokens=512, observed=observed)
        for observed in ((), ("sums",), ("gradients",))
    )
    assert sums.disk_bytes - plain.disk_bytes == 32 * 16 * 100 * XGLM_7_5B.inputs
    assert sums.flops == plain.flops
    assert gradients.flops == 6 * plain.flops
    assert gradients.disk_bytes - plain.disk_bytes == 32 * 4 * sum(XGLM_7_5B.prunable)
