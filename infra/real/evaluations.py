"""Item-by-item results of the real study, read from a store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.store import Catalog
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.numeric.evaluation.metrics import shared_credit
from mlprune.recipe.models import Recipe

Array = NDArray[np.float64]

STATEMENT = Path(__file__).with_name("evaluations.sql")


@dataclass(frozen=True)
class Evaluation:
    """One variant on one task in one language."""

    arm: str
    """Name of the recipe's entry: what chose the weights."""
    source: str | None
    """Source language of the demonstrations."""
    seed: int | None
    propagation: str
    task: str
    language: str
    example_ids: tuple[str, ...]
    sums: Array
    """[n]: negative log-likelihood of a sentence, or credit of an item."""
    counts: Array
    """[n]: scored tokens of a sentence, or 1."""

    @property
    def value(self) -> float:
        """Log-perplexity, or accuracy."""
        return float(self.sums.sum() / self.counts.sum())


def read_evaluations(catalog: Catalog, recipe: Recipe) -> list[Evaluation]:
    """Read the evaluations of a recipe on the test half, as far as they are done."""
    statement = STATEMENT.read_text(encoding="utf-8")
    parameters = [
        {"recipe": recipe.name, "task": entry.task, "example_limit": entry.limit}
        for entry in recipe.evaluations
        if entry.split == "test"
    ]
    return [_with_items(catalog, row) for each in parameters for row in catalog.query(statement, each)]


def _with_items(catalog: Catalog, row: dict[str, Any]) -> Evaluation:
    """Read the predictions of an evaluation: item by item, ordered by id."""
    columns = catalog.artefact_table("predictions", row.pop("evaluation_id")).to_pydict()
    predictions = Predictions.from_columns(columns, rule=row.pop("scoring_rule"))
    if row["task"] == "perplexity":
        sums, counts = -predictions.likelihoods.whole, predictions.likelihoods.n_whole.astype(np.float64)
    else:
        sums = shared_credit(predictions.score_matrix, predictions.gold)
        counts = np.ones(len(sums))
    order = np.argsort(predictions.example_ids, kind="stable")
    return Evaluation(**row, example_ids=tuple(sorted(predictions.example_ids)), sums=sums[order], counts=counts[order])
