"""What a plan says about its searches: trials, items and durations."""

from collections.abc import Iterator, Sequence

from mlprune.counted import counted
from mlprune.planning.resources.search_costs import SearchCost
from mlprune.planning.resources.trials_cost import total_seconds
from mlprune.planning.text.times import Seconds, about
from mlprune.steps.search.batch_result import feasible_winner


def search_lines(costs: Sequence[SearchCost], seconds: Seconds) -> list[str]:
    """Describe searches, one line each for the search, its rungs, its report and the whole."""
    return [line for cost in costs for line in _lines(cost, seconds)]


def _lines(cost: SearchCost, seconds: Seconds) -> Iterator[str]:
    spec, n_done = cost.search.spec, len(cost.search.history)
    done = f", {n_done} done" if n_done else ""
    space = counted(spec.space.n_points, "point")
    yield f"search {spec.name}: {spec.method}, at most {counted(cost.n_trials, 'trial')} of {space}{done}"
    times = [seconds(rung) for rung in cost.rungs]
    for rung, time in zip(cost.rungs, times, strict=True):
        n_items = f"all {spec.n_items}" if rung.n_items is None else str(rung.n_items)
        items = f"{rung.n_items_scored:,} items over all languages"
        yield f"  {n_items} items: {counted(rung.n_trials, 'trial')}, {items}, {about(time)}"
    if cost.report is not None:
        times.append(seconds(cost.report))
        splits = " and ".join(dict.fromkeys(entry.split for entry in spec.report_evaluations))
        yield f"  report: {counted(cost.report.n_trials, 'variant')} and dense on {splits}, {about(times[-1])}"
    yield f"  whole search: {about(total_seconds(times))}; start-up, statistics, masks and small jobs not included"
    if cost.n_searched:
        entries = counted(cost.n_searched, "variant entry", "variant entries")
        has_no_winner = cost.search.is_finished and feasible_winner(cost.search.history) is None
        time_words = "" if cost.searched is None else f"{about(seconds(cost.searched))}, "
        planned = f"{time_words}planned when the search has finished"
        later = "not made: the search has no winner" if has_no_winner else planned
        yield f"  {entries} with the winner's levels: {later}"
