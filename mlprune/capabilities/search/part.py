"""The searches of a recipe as the part of its plan that grows with their results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from mlprune.capabilities.capability import Planned
from mlprune.capabilities.search.batch_result import SIGN
from mlprune.capabilities.search.batches import PlannedSearch, forecast_batches, plan_batch, searches_of
from mlprune.capabilities.search.final import plan_final
from mlprune.capabilities.search.from_recipe import search_spec
from mlprune.capabilities.search.plan_lines import Costing, search_lines
from mlprune.capabilities.search.searched import plan_searched, searched_jobs
from mlprune.capabilities.search.spec import SearchInputs, SearchSpec
from mlprune.capabilities.search.strategy.method import ItemBudget
from mlprune.counted import counted
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job import Job, SetSizes
from mlprune.steps.part import Additions, Report
from mlprune.steps.trials_cost import Seconds
from mlprune.store.run_log_entries import SearchState


class SearchLimits(NamedTuple):
    """Most trials and most items x languages of a search."""

    n_trials: int
    n_items: int


def limits_of(spec: SearchSpec) -> SearchLimits:
    """Return the limits by the batches that are expected, or by a budget of items."""
    batches = forecast_batches(spec)
    n_items = sum(batch.n_trials * spec.settings.rung_items[batch.rung] for batch in batches)
    budget = spec.budget.n_items if isinstance(spec.budget, ItemBudget) else n_items
    return SearchLimits(sum(batch.n_trials for batch in batches), budget)


@dataclass(frozen=True)
class Searches:
    """All searches of a recipe, as far as they are planned."""

    common: SearchInputs
    searches: tuple[PlannedSearch, ...]
    finals: Mapping[str, Report] = field(default_factory=dict)
    """Name of a finished search -> its report; `NAME schedule` -> the variants that have its winner's levels."""
    limits: dict[str, SearchLimits] = field(default_factory=dict, compare=False)
    """Search -> what it needs at most, which takes time to compute."""

    @property
    def names(self) -> list[tuple[str, str, str]]:
        """Kind, name and id of each search."""
        return [("search", search.spec.name, search.id) for search in self.searches]

    def extended(self, additions: Additions) -> "Searches":
        """Add the next batches, the reports of finished searches, and the variants whose schedule is a winner.

        A search whose last batch has its results gets its next batch. A search without a next batch gets the report of
        its winner, and the variants whose schedule it is.

        Raises:
            RecipeError: a point of a search is not one variant, or an entry with schedule search has another sparsity
                than the winner.
        """
        searches = tuple(self._continued(search, additions) for search in self.searches)
        finals = dict(self.finals)
        by_name = {search.spec.name: search for search in searches}
        for name, search in by_name.items():
            if not search.is_finished:
                continue
            rival = by_name.get(f"{name}-random") if "random" in search.spec.compare else None
            if name not in finals and search.is_reported and (rival is None or rival.is_finished):
                finals[name] = plan_final(self.common, search, rival, is_known=additions.is_known)
                additions.add(finals[name].jobs)
            key = f"{name} schedule"
            searched = None if key in finals else plan_searched(self.common, search, is_known=additions.is_known)
            if searched is not None:
                finals[key] = searched
                additions.add(searched.jobs)
        return replace(self, searches=searches, finals=finals)

    def _continued(self, search: PlannedSearch, additions: Additions) -> PlannedSearch:
        """Return a search with all batches that can be planned; their jobs are added."""
        search = search.with_results(additions.store)
        while not search.is_finished and not search.is_waiting:
            search, jobs = plan_batch(self.common, search, is_known=additions.is_known)
            additions.add(jobs)
            search = search.with_results(additions.store)
        return search

    @property
    def reports(self) -> tuple[Report, ...]:
        """The reports of finished searches, and the variants with the levels of their winners."""
        return tuple(self.finals.values())

    @property
    def variant_ids(self) -> list[str]:
        """Ids of the trials, then of the variants of reports."""
        trials = [trial for search in self.searches for batch in search.batches for trial in batch.trials]
        named = [variant_id for report in self.reports for _, variant_id in report.names]
        return list(dict.fromkeys((*(trial.scored.variant_id for trial in trials), *named)))

    @property
    def is_waiting(self) -> bool:
        """Whether the result of a batch is missing."""
        return any(search.is_waiting for search in self.searches)

    def expected_jobs(self) -> list[Job]:
        """Return jobs like those of the entries whose schedule is the winner of a search that is not finished."""
        waiting = (search.spec for search in self.searches if search.is_waiting)
        return [job for spec in waiting for job in searched_jobs(self.common, spec)]

    def plan_lines(self, sizes: Footprint, sets: SetSizes, *, seconds: Seconds) -> list[str]:
        """Describe trials, items and durations of each search."""
        costing = Costing(self.common, sizes, sets)
        return [line for search in self.searches for line in search_lines(costing.of_search(search), seconds)]

    @cached_property
    def states(self) -> tuple[SearchState, ...]:
        """How far each search is."""
        return tuple(self._state(search) for search in self.searches)

    def _state(self, search: PlannedSearch) -> SearchState:
        """Describe a search by its evaluated trials."""
        spec, best = search.spec, search.best
        if spec.name not in self.limits:
            self.limits[spec.name] = limits_of(spec)
        return SearchState(
            name=spec.name,
            n_trials=len(search.history),
            most_trials=self.limits[spec.name].n_trials,
            n_items=sum(trial.n_new_items for trial in search.history),
            most_items=self.limits[spec.name].n_items,
            rung=0 if best is None else best.rung + 1,
            n_rungs=len(spec.rungs),
            item_limit=None if best is None else spec.rungs[best.rung],
            best=None if best is None else best.number,
            objective=None if best is None else SIGN[spec.direction] * best.objective,
            is_feasible=best is not None and best.is_feasible,
            is_finished=search.is_finished,
        )

    def warnings(self) -> Iterator[str]:
        """Yield a line for every search without a winner, or whose last round removed no unit."""
        for search in filter(lambda search: search.is_finished, self.searches):
            constraints = " and ".join(missed_by_all(search)) or "a finite objective"
            if search.winner is None:
                yield f"search {search.spec.name} has no winner: none of its best trials meets {constraints}"
            elif search.spec.removes is not None and search.winner.number < search.batches[-1].trials[0].number:
                n_removed = counted(sum(search.winner.point), "unit")
                yield f"search {search.spec.name} ends with {n_removed} removed: no further trial meets {constraints}"


def missed_by_all(search: PlannedSearch) -> list[str]:
    """Return the constraints that no trial of the last batch meets, as far as it is known; otherwise all."""
    every = [str(one) for one in search.spec.constraints]
    last = [trial.missed for trial in search.history[-len(search.batches[-1].trials) :]] if search.batches else []
    return [one for one in every if last and all(one in missed for missed in last)] or every


def plan_searches(planned: Planned) -> Searches | None:
    """Plan the searches of a recipe before their first batch; None without any."""
    if not planned.recipe.searches:
        return None
    common = SearchInputs(planned.recipe, planned.inputs, planned.sets, planned.given)
    specs = (search_spec(common, config) for config in planned.recipe.searches)
    return Searches(common, searches_of(specs))
