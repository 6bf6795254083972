"""Search methods on simulated candidates: evaluations until a planted optimum is found, and items that are scored.

python tests/benchmarks/search_methods.py --seeds 200

`planted`: 4 units with 3 levels, one of them harmless, 81 points, an objective that penalises kept weights. Target: the
optimum in 20 of 20 seeds with at most 27 evaluations.

`blocks`: 30 units with 5 levels and a total of 0.7, that is the logarithm of a perplexity to which every unit adds an
exponential of its level, with factors between units and, if noisy, normal noise of 0.05. `gain` is by how much the best
of 200 evaluations lowers it in truth, against uniform levels. `guided: 0` is evolution without its additive model.

`selection`: 64 candidates, 2,000 items, rungs 64, 256, 1,024 and 2,000; a rung scores its items again. An item has a
normal difficulty, and a candidate answers it if its ability and noise of its own exceed it; the noise is a quarter of
the variance, so results of two candidates are paired. `spread` is the standard deviation of the candidates' accuracies
in points. p-values are those of sign flips, by their normal approximation. Target: at most 30 % of the items, and the
winner within 0.5 points of the best candidate on all items in 19 of 20 seeds. `dropped` is the share of seeds in which
racing drops the candidate with the highest ability, at most alpha = 0.05.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

sys.path.insert(0, str(Path(__file__).parents[2]))
from mlprune.capabilities.search.strategy.level_units import LevelUnits
from mlprune.capabilities.search.strategy.method import ItemBudget, Settings, VariantBudget, n_items_spent, winner
from mlprune.capabilities.search.strategy.methods.evolution import EvolutionParameters
from mlprune.capabilities.search.strategy.methods.racing import RacingParameters
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS, build_method
from mlprune.capabilities.search.strategy.space import Axis, Point, Space
from mlprune.methods import NO_PARAMETERS
from tests.benchmarks.conditions import machine, moment
from tests.simulated_search import run_search

Row = dict[str, object]

LEVELS, LOSSES = (0.3, 0.5, 0.7), (0.0, 0.06, 0.15)
PLANTED = Space((), LevelUnits(tuple("0123"), (1, 1, 1, 1), LEVELS))
BLOCK_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
BLOCKS = Space((), LevelUnits(tuple(map(str, range(30))), (1,) * 30, BLOCK_LEVELS, 0.7))
N_CANDIDATES, RUNGS, SHARE_OF_NOISE = 64, (64, 256, 1024, 2000), 0.25
CANDIDATES = Space((Axis("candidate", tuple(range(N_CANDIDATES))),))


def planted(point: Point, _: int, *, harmless: int) -> float:
    """Accuracy of a model of four units, one of them harmless, minus a penalty for weights that are kept."""
    loss = sum(LOSSES[level] for unit, level in enumerate(point) if unit != harmless)
    return 0.8 - loss - 0.1 * (1 - sum(LEVELS[level] for level in point) / 4)


def planted_rows(n_seeds: int) -> Iterator[Row]:
    """Evaluations until the optimum, of 27."""
    for kind, batch in product(("random", "tpe", "evolution"), (1, 4, 8)):
        n_evaluations = [_n_until_found(kind, batch, seed) for seed in range(n_seeds)]
        reached = [n for n in n_evaluations if n is not None]
        row: Row = {"what": "planted", "method": kind, "batch": batch, "seeds": n_seeds, "found": len(reached)}
        yield row | {"median": float(np.median(reached or [np.nan])), "most": max(reached, default=None)}


def _n_until_found(kind: str, batch: int, seed: int) -> int | None:
    """Return the number of the first evaluation of the optimum, from 1; None after 27 without it."""
    parameters = SEARCH_METHODS[kind].parameters()
    settings = Settings(parameters, seed=seed, batch=batch, budget=VariantBudget(27))
    objective = partial(planted, harmless=seed % 4)
    best = max(PLANTED.points(), key=lambda point: objective(point, 0))
    points = [trial.point for trial in run_search(build_method(kind, PLANTED, settings), settings, objective)]
    return points.index(best) + 1 if best in points else None


def block_rows(n_seeds: int) -> Iterator[Row]:
    """Gain of 200 evaluations over uniform levels."""
    parameters = {"evolution": EvolutionParameters(), "guided: 0": EvolutionParameters(guided=0.0)}
    for noise, kind in product((0.0, 0.05), (*parameters, "random")):
        settings = Settings(parameters.get(kind, NO_PARAMETERS), budget=VariantBudget(200))
        method = "random" if kind == "random" else "evolution"
        gains = [_block_gain(method, replace(settings, seed=seed), noise) for seed in range(n_seeds)]
        row: Row = {"what": "blocks", "method": kind, "noise": noise, "seeds": n_seeds}
        yield row | {"gain": float(np.mean(gains)), "lowest": min(gains)}


def _block_gain(kind: str, settings: Settings, noise: float) -> float:
    generator = np.random.default_rng(settings.seed)
    scales, slopes = np.exp(generator.normal(0, 1, 30)), generator.uniform(4, 9, 30)

    def true_value(point: Point) -> float:
        levels = np.array([BLOCK_LEVELS[level] for level in point])
        losses = scales * (np.exp(slopes * (levels - 0.5)) - 1) / 20
        return -float(np.log1p(losses.sum() + 0.02 * (losses[1:] * losses[:-1]).sum()))

    def objective(point: Point, _: int) -> float:
        return true_value(point) + noise * np.random.default_rng([settings.seed, *point]).normal()

    best = winner(run_search(build_method(kind, BLOCKS, settings), settings, objective))
    assert best is not None
    assert BLOCKS.uniform is not None
    return true_value(best.point) - true_value(BLOCKS.uniform)


def simulated_correct(seed: int, spread: float) -> tuple[NDArray[np.float64], int]:
    """Return [candidates, items] right answers, and the candidate with the highest ability."""
    generator = np.random.default_rng(seed)
    accuracies = np.clip(0.5 + generator.normal(0, spread / 100, N_CANDIDATES), 0.02, 0.98)
    difficulties = generator.normal(0, np.sqrt(1 - SHARE_OF_NOISE), RUNGS[-1])
    noise = generator.normal(0, np.sqrt(SHARE_OF_NOISE), (N_CANDIDATES, RUNGS[-1]))
    correct = ndtri(accuracies)[:, None] + noise > difficulties
    return correct.astype(np.float64), int(accuracies.argmax())


def p_worse_of(correct: NDArray[np.float64], point: Point, best: Point, rung: int) -> float:
    """One-sided p-value of paired differences under sign flips, by the normal approximation."""
    differences = (correct[point[0]] - correct[best[0]])[: RUNGS[rung]]
    scale = np.sqrt((differences**2).sum())
    return 1.0 if scale == 0 else float(ndtr((differences.sum() + 1) / scale))


def selection_rows(n_seeds: int) -> Iterator[Row]:
    """Share of items scored, and distance of the winner from the best candidate on all items."""
    n_all = N_CANDIDATES * RUNGS[-1]
    cases: list[tuple[str, Settings]] = [
        ("halving", Settings(SEARCH_METHODS["halving"].parameters(), rung_items=RUNGS, reuses_items=False)),
        ("racing", Settings(RacingParameters(), rung_items=RUNGS, reuses_items=False)),
        (
            "racing",
            Settings(RacingParameters(), rung_items=RUNGS, reuses_items=False, budget=ItemBudget(int(0.3 * n_all))),
        ),
    ]
    for spread, (kind, settings) in product((0.0, 3.0, 5.0, 10.0), cases):
        runs = [selection(kind, replace(settings, seed=seed), spread) for seed in range(n_seeds)]
        items, losses, dropped = (np.array(column) for column in zip(*runs, strict=True))
        row: Row = {"what": "selection", "method": kind, "spread": spread, "seeds": n_seeds}
        row |= {
            "limited": settings.budget is not None,
            "items": items.mean() / n_all,
            "most items": items.max() / n_all,
        }
        row |= {"within 0.5": float((losses <= 0.005 + 1e-12).mean()), "largest loss": float(losses.max())}
        yield row | ({"dropped": float(dropped.mean())} if kind == "racing" and settings.budget is None else {})


def selection(kind: str, settings: Settings, spread: float) -> tuple[int, float, bool]:
    """Return the items scored, the winner's distance from the best, and whether the ablest candidate was dropped."""
    correct, ablest = simulated_correct(settings.seed, spread)
    means = [correct[:, :n_items].mean(axis=1) for n_items in RUNGS]
    history = run_search(
        build_method(kind, CANDIDATES, settings),
        settings,
        lambda point, rung: float(means[rung][point[0]]),
        p_worse=partial(p_worse_of, correct),
    )
    best = winner(history)
    assert best is not None
    is_dropped = all(trial.point != (ablest,) for trial in history if trial.rung == settings.last_rung)
    return n_items_spent(history), float(means[-1].max() - means[-1][best.point[0]]), is_dropped


PARTS = {"planted": planted_rows, "blocks": block_rows, "selection": selection_rows}


def main() -> None:
    """Print one JSON object per line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=sorted(PARTS), help="one part")
    options = parser.parse_args()
    print(json.dumps({"machine": machine(), "moment": moment()}))
    for name, part in PARTS.items():
        if options.only in (None, name):
            for row in part(options.seeds):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
