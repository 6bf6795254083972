from dataclasses import replace

import pytest

from mlprune.errors import ModelError
from mlprune.models.placement.budget import (
    GroupLimit,
    MemoryBudget,
    Residency,
    group_limit,
    residency,
    resident_blocks,
    smallest_budget,
)
from mlprune.models.placement.memory_estimate import (
    GROUP_BYTES,
    PROCESS_BYTES,
    Footprint,
    estimate_working_bytes,
    footprint,
    shard_bytes,
)
from tests.tiny_models import save_tiny_model

GIB = 2**30
LARGE = Footprint(
    before=2 * GIB,
    blocks=(GIB // 2,) * 8,
    tail=2 * GIB,
    tied=2 * GIB,
    on_demand=2 * GIB,
    prunable=(2**26, 2**26, 2**24),
    widest=2**14,
    hidden=2**12,
    inputs=2**15,
    vocabulary=2**18,
    itemsize=2,
)


def test_a_budget_has_room_for_all_blocks_or_for_resident_blocks_and_a_window():
    span, working = range(8), GIB
    whole = PROCESS_BYTES + working + shard_bytes(LARGE, span)
    assert whole == PROCESS_BYTES + working + 6 * GIB
    plans = {n: residency(LARGE, span, MemoryBudget(n, working)) for n in range(GIB * 3, whole + 1, GIB // 4)}
    assert residency(LARGE, span, MemoryBudget(whole, working)) == Residency(8, 0)
    assert residency(LARGE, span, MemoryBudget(whole - 1, working)).window == 2
    n_in_memory = [plan.n_resident + plan.window for plan in plans.values()]
    assert n_in_memory == sorted(n_in_memory)
    assert {plan.window for plan in plans.values()} == {2}
    for n_bytes, plan in plans.items():
        at_work = (plan.n_resident + plan.window) * LARGE.block + working
        at_the_end = plan.n_resident * LARGE.block + LARGE.tail
        assert PROCESS_BYTES + max(at_work, at_the_end) <= n_bytes


def test_the_smallest_budget_suffices_and_less_is_an_error_that_names_it():
    for sizes in (LARGE, replace(LARGE, before=9 * GIB), replace(LARGE, tail=GIB // 8)):
        for span in (range(8), range(4), range(4, 8), range(2, 5)):
            least = smallest_budget(sizes, span)
            assert residency(sizes, span, MemoryBudget(least)).window >= 1
            with pytest.raises(ModelError, match=r"no room for one block.*or more") as caught:
                residency(sizes, span, MemoryBudget(least - 2**21))
            named = float(str(caught.value.context["expected"]).split()[0]) * GIB
            assert least <= named < least + GIB / 50


def test_modules_before_the_blocks_need_room_except_for_rows_read_on_demand():
    at_least = smallest_budget(replace(LARGE, on_demand=0, before=5 * GIB), range(8))
    assert at_least == PROCESS_BYTES + GROUP_BYTES + 5 * GIB
    assert (
        smallest_budget(replace(LARGE, on_demand=5 * GIB, before=5 * GIB), range(4))
        == PROCESS_BYTES + estimate_working_bytes(LARGE) + GIB // 2
    )


def test_all_blocks_are_resident_only_if_nothing_is_offloaded():
    span = range(8)
    for quarter in range(12, 60):
        budget = MemoryBudget(quarter * GIB // 4)
        plan = residency(LARGE, span, budget)
        n = resident_blocks(LARGE, span, budget)
        assert (n == len(span)) == (plan.window == 0)
        assert n in (plan.n_resident + plan.window, len(span) - 1)


def test_the_limit_of_a_model_counts_its_states_and_its_sums(tmp_path):
    sizes = footprint(save_tiny_model(tmp_path), "float32")
    limit = group_limit(sizes)
    assert limit == GroupLimit(4 * 16 * 4, 4 * 3 * (7 * 16 + 16), 64 * 4, GROUP_BYTES)
