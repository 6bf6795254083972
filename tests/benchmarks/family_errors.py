"""Simulated family-wise error of verdicts: a wrong yes or a wrong no, in families of questions about gains and margins.

python tests/benchmarks/family_errors.py --repeats 4000

Each line is one population of families that declare gains, non-inferiority and equivalence in turn: the share of
families with at least one wrong verdict of the view `answers`, that of a wrong yes and that of a wrong no, the mean
number of right ones, and the Monte Carlo standard error of the first. Target: at most 0.055. At its limit, a true
difference is on the one or the other side by a hair. `strict` is the share with a wrong verdict if it were exactly the
margin, and both verdicts counted as wrong there. Differences are normal with an error of 1, or shares of independent
items.
"""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import duckdb
import numpy as np
from scipy import special

sys.path.insert(0, str(Path(__file__).parents[2]))
from catalog.ingest.fold import update_schema
from catalog.ingest.insert_rows import insert_rows, refresh_all
from catalog.ingest.table_files import declared_tables
from mlprune.numeric.statistics.paired_proportions import tango_p_value
from mlprune.steps.questions.evidence import Counts, Estimate, ItemEstimate, margin_p_value, opposite_p_value
from mlprune.vocabulary import ClaimName
from tests.benchmarks.conditions import machine, moment

Row = dict[str, Any]
Place = Literal["inside", "outside", "likely", "certain"]
"""Of a true difference: at the limit of the claim, where it is true or false; or where it is shown half the time, or
always. At the limit of a gain, the difference is 0."""
Data = Literal["normal", "few items", "many items"]

SIZES = (1, 4, 10)
CLAIMS: tuple[ClaimName, ...] = ("gain", "noninferior", "equivalent")
MIXTURES: dict[str, tuple[Place, ...]] = {
    "all true": ("inside",),
    "all false": ("outside",),
    "both": ("inside", "outside"),
    "most shown": ("certain", "certain", "inside", "certain", "outside"),
    "some likely": ("likely", "inside", "likely", "outside"),
}
MARGINS: dict[Data, float] = {"normal": 6.0, "few items": 0.02, "many items": 0.02}
N_ITEMS: dict[Data, int] = {"few items": 150, "many items": 1000}
CHANGED = 0.1
"""Share of items that change where the difference is 0."""


@dataclass(frozen=True)
class Population:
    """Families of questions, each about a difference of its own."""

    n_questions: int
    mixture: str
    data: Data
    claims: tuple[ClaimName, ...] = CLAIMS
    correlation: float = 0.0
    """Of the errors of two questions of a family, if they are normal."""

    @property
    def questions(self) -> list[tuple[ClaimName, Place]]:
        """Claim and place of each question; each place has every claim in turn."""
        places = itertools.cycle(MIXTURES[self.mixture])
        return [(self.claims[n % len(self.claims)], next(places)) for n in range(self.n_questions)]


@dataclass(frozen=True)
class NormalEstimate:
    """A difference with an error of 1 that is known."""

    value: float

    def interval(self, level: float) -> Any:
        """Nothing reads it."""
        raise NotImplementedError(level)

    def p_worse(self, margin: float) -> float:
        """Return the p-value of the hypothesis that the true difference is at most -margin."""
        return float(special.ndtr(-self.value - margin))

    @property
    def mirrored(self) -> "NormalEstimate":
        """The estimate of the negative difference."""
        return NormalEstimate(-self.value)


def true_difference(claim: ClaimName, place: Place, data: Data) -> float:
    """Return the true difference of a question."""
    margin = MARGINS[data]
    step = 1.0 if data == "normal" else (CHANGED / N_ITEMS[data]) ** 0.5
    distance = {"inside": 0.0, "outside": 0.0, "likely": 2.0, "certain": 8.0}[place] * step
    if claim == "gain":
        return distance
    return min(distance - margin, 0.0) if claim == "equivalent" else distance - margin


def drawn_estimates(population: Population, repeats: int, generator: np.random.Generator) -> Iterator[list[Estimate]]:
    """Yield the estimates of each family."""
    data, n = population.data, population.n_questions
    truths = np.array([true_difference(*question, data) for question in population.questions])
    if data == "normal":
        shared, own = generator.standard_normal((repeats, 1)), generator.standard_normal((repeats, n))
        rho = population.correlation
        for values in truths + math.sqrt(rho) * shared + math.sqrt(1 - rho) * own:
            yield [NormalEstimate(float(value)) for value in values]
        return
    n_items = N_ITEMS[data]
    for _ in range(repeats):
        yield [_items(float(truth), n_items, generator) for truth in truths]


def _items(truth: float, n_items: int, generator: np.random.Generator) -> ItemEstimate:
    """Draw items: they only get lost, or only gained, or 10 % change in either direction if the difference is 0."""
    chances = (max(truth, 0.0), max(-truth, 0.0)) if truth else (CHANGED / 2, CHANGED / 2)
    gained, lost, _ = generator.multinomial(n_items, [*chances, 1 - sum(chances)])
    return ItemEstimate(Counts(float(gained), float(lost), float(n_items)))


@cache
def answer_of(claim: ClaimName, estimate: Estimate, margin: float) -> Row:
    """Return difference and p-values of an answer."""
    if isinstance(estimate, ItemEstimate):
        gained, lost, n = estimate.counts
        difference, p_value = (gained - lost) / n, tango_p_value(gained, lost, n)
    else:
        assert isinstance(estimate, NormalEstimate)
        difference, p_value = estimate.value, 2 * float(special.ndtr(-abs(estimate.value)))
    if claim == "gain":
        return {"difference": difference, "p_value": p_value}
    p_values = {name: of(estimate, claim, margin, sign=1) for name, of in P_VALUES.items()}
    return {"difference": difference, "p_value": p_value, **p_values}


P_VALUES = {"p_margin": margin_p_value, "p_opposite": opposite_p_value}


def verdicts(population: Population, repeats: int, seed: int = 4) -> list[list[str]]:
    """Return the verdicts of the questions of each family, from the view that decides them."""
    generator = np.random.default_rng(seed)
    tables: dict[str, list[Row]] = {"questions": [], "question_variants": [], "answer_results": []}
    keys = []
    for family, estimates in enumerate(drawn_estimates(population, repeats, generator)):
        for number, ((claim, _), estimate) in enumerate(zip(population.questions, estimates, strict=True)):
            key = f"{family}-{number}"
            keys.append(key)
            pair = {"question_id": key, "variant_id": key, "baseline_id": "dense"}
            question = {"question_id": key, "name": key, "criterion_id": key, "recipe": str(family), "claim": claim}
            question |= {"task": "facts", "split": "test", "metric": "accuracy", "group_kind": "language"}
            question |= {"group_name": "en", "over": "each", "is_primary": True, "is_declared": True}
            tables["questions"].append(question)
            tables["question_variants"].append(pair)
            answer = answer_of(claim, estimate, MARGINS[population.data])
            tables["answer_results"].append({**pair, "comparison_id": key, **answer})
    with duckdb.connect() as connection:
        update_schema(connection)
        for name, rows in tables.items():
            insert_rows(connection, declared_tables()[name], rows)
        refresh_all(connection)
        found = dict(connection.execute("SELECT question_id, verdict FROM answers").fetchall())
    n = population.n_questions
    return [[found[key] for key in keys[start : start + n]] for start in range(0, len(keys), n)]


def error_row(population: Population, repeats: int) -> Row:
    """Return the shares of families with wrong verdicts."""
    wrong_verdicts, at_limits, right = [], [], []
    for claim, place in population.questions:
        is_at_limit = place in ("inside", "outside")
        wrong = {"yes", "no"} if is_at_limit and claim == "gain" else {"yes"} if place == "outside" else {"no"}
        wrong_verdicts.append(wrong)
        right.append("yes" if "yes" not in wrong else "no" if "no" not in wrong else "")
        at_limits.append({"yes", "no"} if is_at_limit else wrong_verdicts[-1])
    found = verdicts(population, repeats)
    errors = [{one for one, wrong in zip(family, wrong_verdicts, strict=True) if one in wrong} for family in found]
    strict = [any(one in wrong for one, wrong in zip(family, at_limits, strict=True)) for family in found]
    n_right = [
        sum(
            one == verdict and one not in wrong
            for one, verdict, wrong in zip(family, right, wrong_verdicts, strict=True)
        )
        for family in found
    ]
    share = float(np.mean([bool(each) for each in errors]))
    return {
        **vars(population),
        "wrong": share,
        "wrong yes": float(np.mean(["yes" in each for each in errors])),
        "wrong no": float(np.mean(["no" in each for each in errors])),
        "error": math.sqrt(share * (1 - share) / repeats),
        "right": float(np.mean(n_right)),
        "strict": float(np.mean(strict)),
    }


def populations() -> list[Population]:
    """All populations."""
    mixed = [Population(*values) for values in itertools.product(SIZES[1:], MIXTURES, get_args(Data))]
    single = [
        Population(n, "all true", data, claims=(claim,))
        for n, data, claim in itertools.product(SIZES, get_args(Data), CLAIMS)
    ]
    correlated = [
        Population(n, mixture, "normal", correlation=0.8) for n, mixture in itertools.product(SIZES[1:], MIXTURES)
    ]
    return [*single, *mixed, *correlated]


def rows(repeats: int, chosen: Sequence[Population]) -> Iterator[Row]:
    """One row per population."""
    for population in chosen:
        yield error_row(population, repeats)


def main(arguments: list[str] | None = None) -> int:
    """Print one line per population, and the largest error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4000, help="families per population")
    chosen = parser.parse_args(arguments)
    print(json.dumps({**machine(), **moment(), "repeats": chosen.repeats}))
    largest = 0.0
    for row in rows(chosen.repeats, populations()):
        largest = max(largest, row["wrong"])
        print(json.dumps({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()}), flush=True)
    print(json.dumps({"largest": round(largest, 4)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
