"""The order in which the variants of a batch are evaluated."""

from pathlib import Path

from mlprune.capabilities.search.batches import in_order_of_blocks
from mlprune.capabilities.search.spec import block_contents
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.job import ModelRef
from tests.mlprune.capabilities.search.test_from_recipe import first_spec
from tests.search_recipes import search_recipe

MODEL = ModelRef("base", "/nowhere", "xglm", 3, None, "float32")


def evaluations(*variants: str) -> list[EvaluateJob]:
    return [EvaluateJob(MODEL, (), variant, batch_tokens=16) for variant in variants]


def test_variants_that_share_first_blocks_follow_each_other_and_know_how_many() -> None:
    contents = {
        "a": {0: (1.0,), 1: (2.0,), 2: (3.0,)},
        "b": {0: (0.0,), 1: (2.0,), 2: (3.0,)},
        "c": {0: (1.0,), 1: (2.0,), 2: (1.0,)},
        "d": {0: (0.0,), 1: (1.0,), 2: (3.0,)},
    }
    jobs = in_order_of_blocks(evaluations("a", "b", "dense", "c", "d"), contents)
    order = [(job.variant_id, job.n_shared) for job in jobs if isinstance(job, EvaluateJob)]
    assert order == [("dense", 0), ("d", 1), ("b", 0), ("c", 2), ("a", 0)]
    assert in_order_of_blocks([], {}) == []


def test_blocks_with_equal_levels_have_equal_contents(tiny_inputs: Path) -> None:
    recipe = parse_recipe(search_recipe(levels={"values": [0.25, 0.5, 0.75]}), folder=tiny_inputs)
    spec = first_spec(recipe)
    first, second = block_contents(spec, (0, 1, 2)), block_contents(spec, (0, 1, 1))
    assert [first[block] == second[block] for block in (0, 1, 2)] == [True, True, False]
