"""What a plan says about its analyses of probes: their number, items and durations."""

from collections.abc import Sequence

from mlprune.counted import counted
from mlprune.planning.resources.probe_costs import AnalysisCost
from mlprune.steps.trials_cost import Seconds, about, total_seconds


def probe_lines(costs: Sequence[AnalysisCost], seconds: Seconds) -> list[str]:
    """Describe analyses, one line each."""
    return [
        f"{cost.kind} {cost.name}: {counted(cost.n_probes, 'probe')}, "
        f"{cost.n_items_scored:,} items over all languages, "
        f"{about(total_seconds([seconds(part) for part in cost.evaluations]))}, if none of it is done"
        for cost in costs
    ]
