"""Read the evaluated trials of a search from the records of its batches."""

from collections.abc import Mapping, Sequence
from math import inf

from mlprune.json_values import JsonValue, as_float, as_int
from mlprune.search.trials import EvaluatedTrial, ProposedTrial, winner
from mlprune.store.records import Record
from mlprune.vocabulary import DirectionName

SIGN: Mapping[DirectionName, float] = {"maximise": 1.0, "minimise": -1.0}
"""Direction of a search -> factor with which a higher objective is better."""


def evaluated_trials(
    record: Record, asked: Sequence[ProposedTrial], *, direction: DirectionName
) -> tuple[EvaluatedTrial, ...]:
    """Return the evaluated trials of a batch.

    Args:
        record: of kind `search_batches`.
        asked: its trials, in order.
    """
    rows = record.rows["search_trials"]
    return tuple(_evaluated_trial(row, one, sign=SIGN[direction]) for row, one in zip(rows, asked, strict=True))


def _evaluated_trial(row: Mapping[str, JsonValue], asked: ProposedTrial, *, sign: float) -> EvaluatedTrial:
    objective, violation, p_worse = (row[name] for name in ("objective", "violation", "p_worse"))
    return EvaluatedTrial(
        number=as_int(row["number"]),
        point=asked.point,
        rung=asked.rung,
        parent=asked.parent,
        n_items=as_int(row["n_items"]),
        n_new_items=as_int(row["n_new_items"]),
        objective=-inf if objective is None else sign * as_float(objective),
        violation=inf if violation is None else as_float(violation),
        p_worse=None if p_worse is None else as_float(p_worse),
    )


def feasible_winner(history: Sequence[EvaluatedTrial]) -> EvaluatedTrial | None:
    """Return the winner of a search; None if no trial of the highest rung meets the constraints."""
    best = winner(history)
    return best if best is not None and best.is_feasible and best.objective > -inf else None
