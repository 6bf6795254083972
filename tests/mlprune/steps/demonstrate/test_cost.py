"""Sizes of demonstration sets."""

from mlprune.plan import Plan
from mlprune.steps.demonstrate.cost import set_sizes
from mlprune.steps.demonstrate.jobs import DemonstrateJob, MixJob
from mlprune.steps.job import make_identity
from tests.mlprune.steps.job_costs import SET_TOKENS


def test_a_drawn_set_has_its_demonstrations_of_full_length(tiny_plan: Plan) -> None:
    sizes = set_sizes(tiny_plan.jobs)
    drawn = [job for job in tiny_plan.jobs if isinstance(job, DemonstrateJob)]
    assert drawn
    assert {sizes[job.identity.id] for job in drawn} == {(SET_TOKENS, 4)}


def test_a_mixed_set_has_what_it_takes_of_each_part_even_if_a_part_is_mixed(tiny_plan: Plan) -> None:
    (mix,) = [job for job in tiny_plan.jobs if isinstance(job, MixJob)]
    outer = MixJob(make_identity("demonstration_sets", {"kind": "mixed"}), (mix.identity.id,), (5,), mix.spec)
    sizes = set_sizes([*tiny_plan.jobs, outer])
    assert sizes[mix.identity.id] == (48 * sum(mix.taken), sum(mix.taken))
    assert sizes[outer.identity.id] == (48 * 5, 5)
