"""RankC between the languages of Global PIQA's parallel split, as a user gets it from a recipe."""

import csv
import io
import math
from itertools import combinations
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.results import predictions_of
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from tests.published_data import PIQA_CODES, N, global_piqa_parallel
from tests.tiny_recipes import copied_inputs, run_here, small_recipe, write_recipe

pytestmark = pytest.mark.thorough("runs recipes of its own")

WEIGHTS = [math.exp(4 - place) for place in range(1, 5)]
CHANCE = sum(weight * place / 4 for place, weight in enumerate(WEIGHTS, 1)) / sum(WEIGHTS)
"""RankC of unrelated rankings of four candidates: 0.377."""


def rank_consistency(first: list[list[float]], second: list[list[float]]) -> float:
    """RankC of the scores of two languages, item by item."""
    total = 0.0
    for scores in zip(first, second, strict=True):
        orders = [sorted(range(4), key=lambda index, of=of: -of[index]) for of in scores]
        for place, weight in enumerate(WEIGHTS, 1):
            shared = set(orders[0][:place]) & set(orders[1][:place])
            total += weight / sum(WEIGHTS) * len(shared) / place
    return total / len(first)


def test_pairs_of_languages_have_a_row_with_number_interval_and_chance(tmp_path: Path, tiny_inputs: Path) -> None:
    copied_inputs(tiny_inputs, tmp_path)
    global_piqa_parallel(tmp_path / "piqa")
    recipe = {**small_recipe(), "demonstrations": [], "variants": [{"score": "magnitude", "sparsity": 0.5}]}
    evaluation = {"task": "global_piqa_parallel", "path": "piqa", "languages": list(PIQA_CODES)}
    store = Store(tmp_path / "store")
    plan = run_here(write_recipe(tmp_path, {**recipe, "evaluations": [evaluation]}), store)
    command = ["query", "rank_consistency_matrix", "--store", str(tmp_path / "store"), "--format", "csv"]
    shown = CliRunner().invoke(app, [*command, "--param", "task=global_piqa_parallel"], catch_exceptions=False)
    rows = {(row["language"], row["reference_language"]): row for row in csv.DictReader(io.StringIO(shown.stdout))}
    (dense, _) = [job for job in plan.jobs if isinstance(job, EvaluateJob)]
    scores = {one.task.language: predictions_of(store, one).item_scores() for one in dense.evaluations}
    assert {frozenset(pair) for pair in rows} == {frozenset(pair) for pair in combinations(PIQA_CODES, 2)}
    for (language, reference), row in rows.items():
        assert int(row["n_items"]) == N
        assert float(row["chance"]) == pytest.approx(CHANCE)
        value = rank_consistency(scores[language], scores[reference])
        assert float(row["value"]) == pytest.approx(value)
        assert float(row["ci_low"]) <= value <= float(row["ci_high"])
