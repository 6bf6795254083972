"""Lines on analyses of probes."""

from pathlib import Path

from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning.resources.probe_costs import probe_costs
from mlprune.planning.text.probe_lines import probe_lines
from tests.search_recipes import N_SEARCHED, sensitivity_recipe
from tests.tiny_recipes import plan_of, write_recipe


def test_an_analysis_is_described_by_its_probes(tiny_inputs: Path) -> None:
    recipe = sensitivity_recipe(by=["block", "layer"], sparsity=[0.5, 0.7])
    plan = plan_of(write_recipe(tiny_inputs, recipe, name="analysed.yaml"))
    costs = probe_costs(plan, footprint(Path(plan.model.path), plan.model.dtype))
    n_probes = 2 * (3 + 6)  # sparsities, blocks and layers
    n_items = f"{n_probes * 2 * N_SEARCHED} items over all languages"
    assert probe_lines(costs, lambda part: float(part.n_trials)) == [
        f"sensitivity where: {n_probes} probes, {n_items}, about {n_probes} s, if none of it is done"
    ]
    assert "time unknown" in probe_lines(costs, lambda _: None)[0]
