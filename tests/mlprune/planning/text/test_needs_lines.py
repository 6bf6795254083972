"""Lines on what a plan needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.planning.resources.described_cluster import parse_cluster
from mlprune.planning.resources.estimate import Needs, needs_of
from mlprune.planning.resources.rates import Rates
from mlprune.planning.text import needs_lines
from mlprune.planning.text.needs_lines import PlannedMachines
from tests.tiny_recipes import plan_of, small_recipe, write_recipe


@pytest.fixture(autouse=True)
def measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs_lines, "measure_rates", lambda _model, *, n_threads: Rates(n_threads * 1e9, 1e8))


@pytest.fixture(scope="module")
def needs(tiny_inputs: Path) -> Needs:
    plan = plan_of(write_recipe(tiny_inputs, small_recipe(), name="needed.yaml"))
    costs = tuple(replace(cost, flops=cost.flops * 1e12) for cost in needs_of(plan, plan.jobs).costs)
    return replace(needs_of(plan, plan.jobs), costs=costs)


def described(needs: Needs, cluster: str, *, dtype: str = "bfloat16", **compute: object) -> dict[str, str]:
    """The lines by their first word; several lines of one word are joined."""
    nodes = parse_cluster(cluster)
    device = "cuda" if nodes[0].n_gpus and compute.get("gpus_per_actor") != 0 else "cpu"
    model = replace(needs.model, device=device, dtype=dtype)
    changed = replace(needs, model=model, compute=needs.compute.model_copy(update=compute))
    lines: dict[str, str] = {}
    for line in needs_lines.needs_lines(changed, changed.pool(nodes), PlannedMachines(nodes, 2)):
        name, _, text = line.partition(":")
        lines[name] = f"{lines[name]}; {text.strip()}" if name in lines else text.strip()
    return lines


def test_hours_of_accelerators_are_estimated_from_stated_rates(needs: Needs) -> None:
    lines = described(needs, "2x(16 CPU, 100 GiB, 2 A100-80GB) + (4 CPU, 16 GiB)")
    assert lines["nodes"] == (
        "2 x (16 CPUs, 70.0 GiB, 2 A100-80GB): room for 2 actors each; 1 x (4 CPUs, 11.2 GiB): room for 0 actors"
    )
    assert "3 of 3 blocks" in lines["accelerators"]
    assert "estimated from stated rates" in lines["time"]
    assert "stated for A100-80GB in bfloat16" in lines["time"]
    assert "GPU-hours on 4 GPUs" in lines["cost"]
    assert "hint" not in lines


def test_the_time_of_a_cluster_of_cpus_assumes_the_speed_of_this_machine(needs: Needs) -> None:
    lines = described(needs, "2x(4 CPU, 16 GiB)", dtype="float32")
    assert "as fast as here" in lines["time"]
    assert "GPU" not in lines["cost"]
    assert "accelerators" not in lines


def test_the_time_of_unknown_accelerators_is_not_made_up(needs: Needs) -> None:
    lines = described(needs, "(8 CPU, 32 GiB, 2 GPU 24 GiB)")
    assert lines["time"].startswith("unknown")
    assert "TFLOP" in lines["time"]
    assert "cost" not in lines


def test_float32_on_accelerators_is_hinted_at(needs: Needs) -> None:
    assert "bfloat16" in described(needs, "(8 CPU, 32 GiB, 1 H100)", dtype="float32")["hint"]
    assert "float16" in described(needs, "(8 CPU, 32 GiB, 1 V100-32GB)", dtype="float32")["hint"]
    assert "do not have bfloat16" in described(needs, "(8 CPU, 32 GiB, 1 V100-32GB)", dtype="bfloat16")["hint"]


def test_idle_accelerators_are_hinted_at(needs: Needs) -> None:
    assert "3 of 4 GPUs are not used" in described(needs, "(8 CPU, 32 GiB, 4 L4)", replicas=1)["hint"]
    assert "the GPUs are not used" in described(needs, "(8 CPU, 32 GiB, 4 L4)", gpus_per_actor=0)["hint"]


def test_shards_send_hidden_states(needs: Needs) -> None:
    lines = described(needs, "3x(1 CPU, 2 GiB)", dtype="float32", replicas=1, shards=2)
    assert lines["nodes"] == "3 x (1 CPU, 1.4 GiB): room for 1 actor each"
    assert "hidden states" in lines["traffic"]
    assert "traffic" not in described(needs, "(4 CPU, 8 GiB)", dtype="float32", replicas=1, shards=1)


def test_experts_that_do_not_fit_are_stated(needs: Needs) -> None:
    nodes = parse_cluster("(4 CPU, 8 GiB)")
    pool = replace(needs.pool(nodes), resident=(0,))
    lines = needs_lines.needs_lines(needs, pool, PlannedMachines(nodes, 2))
    assert any("without experts that do not fit" in line for line in lines)


def test_actors_that_share_an_accelerator_are_counted_together(needs: Needs) -> None:
    lines = described(needs, "(8 CPU, 32 GiB, 1 L4)", gpus_per_actor=0.5, replicas=2)
    assert "for each of 2 actors" in lines["accelerators"]
    assert "hint" not in lines or "not used" not in lines["hint"]
