"""A recipe whose variants can be composed from level libraries, run with and without compositions."""

from pathlib import Path
from typing import Any, NamedTuple

from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.inputs import open_inputs
from mlprune.steps.job import Job
from mlprune.steps.prune.composed import ComposeVariantJob, trial_jobs
from mlprune.store.store import Store
from tests.tiny_recipes import FinishedRun, copy_of, method_recipe, run_jobs

LEVELS = (0.25, 0.5, 0.75)
WANDA = {"score": "wanda", "demonstrations": "fr-en", "sparsity": 0.5, "propagation": "dense"}
BASES: dict[str, dict[str, Any]] = {
    "row": WANDA,
    "matrix": {**WANDA, "structure": "matrix"},
    "contrast": {**WANDA, "score": "contrast", "contrast": "code"},
    "magnitude": {"score": "magnitude", "sparsity": 0.5},
}
PLACES: dict[str, dict[str, Any]] = {
    "block": {"scope": {"blocks": [1]}},
    "layers": {"scope": {"layers": ["fc1", "self_attn.q_proj"], "without_blocks": [0]}, "sparsity": 0.75},
    "by-block": {"schedule": {"blocks": {0: 0.25, 2: 0.0}}},
    "by-layer": {"schedule": {"layers": {"fc2": 0.75, "fc1": 0}}},
    "by-both": {"schedule": {"block_layers": {"1.fc1": 0.75, "2.self_attn.q_proj": 0.0}, "blocks": {1: 0.25}}},
    "nothing": {"schedule": {"blocks": {0: 0.0, 1: 0.0, 2: 0.0}}},
}


class Both(NamedTuple):
    """A plan, its jobs with compositions, and the finished stores of both."""

    plan: Plan
    jobs: list[Job]
    ordered: Store
    composed: Store

    @property
    def compositions(self) -> list[ComposeVariantJob]:
        """The jobs that compose variants."""
        return [job for job in self.jobs if isinstance(job, ComposeVariantJob)]

    def named(self, name: str) -> str:
        """Id of the variant of an entry."""
        return next(one.id for one in self.plan.variants.values() if name in {entry.name for entry in one.entries})

    def run(self, store: Store) -> FinishedRun:
        """One of the stores as a finished run."""
        return FinishedRun(Path(self.plan.model.path).parent / "recipe.yaml", self.plan, store)


def composable_recipe() -> dict[str, Any]:
    """Every place of every base, a combination of two of them, and evaluations and analyses of some."""
    variants = [{"name": f"{base} {place}", **BASES[base], **PLACES[place]} for base in BASES for place in PLACES]
    combined = {"name": "union", "combine": "union", "of": ["row by-block", "row by-both"]}
    some = ["row by-both", "magnitude block", "matrix nothing", "union"]
    facts = {"task": "facts", "path": "facts", "languages": ["fr"], "variants": some}
    return {
        **method_recipe(),
        "variants": [*variants, combined],
        "evaluations": [facts],
        "analyses": {"neuron_variants": some[:3]},
    }


def with_compositions(plan: Plan, levels: tuple[float, ...] = LEVELS) -> list[Job]:
    """The jobs of a plan with compositions in place of the orderings of its variants."""
    before = [job for job in plan.jobs if job.step in ("demonstrate", "observe")]
    after = [job for job in plan.jobs if job.step not in ("demonstrate", "observe", "prune")]
    composed = trial_jobs(plan.recipe, open_inputs(plan.recipe), plan.variants, levels=levels)
    return [*before, *composed, *after]


def run_both(inputs: Path, finished: Store, folder: Path) -> Both:
    """Run the recipe with and without compositions, in two copies of a store that has its statistics."""
    both = both_in(inputs, folder)
    for store, jobs in ((both.ordered, both.plan.jobs), (both.composed, both.jobs)):
        copy_of(finished, folder / Path(store.uri).name)
        store.write_record(both.plan.record)
        run_jobs(jobs, store, model=both.plan.model)
    return both


def both_in(inputs: Path, folder: Path) -> Both:
    """The plan and the stores that `run_both` fills."""
    plan = build_plan(parse_recipe(composable_recipe(), folder=inputs))
    return Both(plan, with_compositions(plan), Store(folder / "ordered"), Store(folder / "composed"))
