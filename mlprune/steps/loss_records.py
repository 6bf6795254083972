"""Losses of units that schedule `sensitivity` reads: the planned records, and their contents."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mlprune.errors import StatisticsError
from mlprune.json_values import JsonValue, as_float, as_int
from mlprune.methods import SensitivityParameters
from mlprune.pruning.schedules import UnitLoss
from mlprune.pruning.spec import ScheduleSpec
from mlprune.recipe.questions import asked_languages
from mlprune.steps.job import RecordKey
from mlprune.store.store import Store
from mlprune.vocabulary import GroupKind


@dataclass(frozen=True)
class LossRecord:
    """A planned record of losses, with the values of the recipe that identify it."""

    entry: str
    """Name of the entry of `sensitivity`."""
    by: str
    """Kind of the units."""
    sparsity: float
    task: str
    groups: tuple[tuple[GroupKind, str], ...]
    """Languages and groups of languages whose losses it has."""
    id: str


def loss_keys(schedule: ScheduleSpec) -> tuple[RecordKey, ...]:
    """Return the record of losses that a schedule reads, if it reads one."""
    return () if schedule.losses is None else (("sensitivities", schedule.losses),)


def losses_of(store: Store, schedule: ScheduleSpec) -> tuple[UnitLoss, ...] | None:
    """Return the losses that a schedule reads; None if it reads none.

    Raises:
        StatisticsError: the record has no losses of the schedule's group of languages.
    """
    parameters = schedule.schedule_parameters
    if schedule.losses is None or not isinstance(parameters, SensitivityParameters):
        return None
    return _losses(store.uri, schedule.losses, parameters.group)


@lru_cache(maxsize=64)
def _losses(store_uri: str, losses_id: str, group: str) -> tuple[UnitLoss, ...]:
    asked = asked_languages(group)
    rows = Store(store_uri).require("sensitivities", losses_id).rows["sensitivity"]
    chosen = [row for row in rows if (row["group_kind"], row["group_name"]) == (asked.kind, asked.name)]
    if not chosen:
        raise StatisticsError("a sensitivity analysis has no losses of a group", record=losses_id, got=group)
    return tuple(
        UnitLoss(
            None if row["block"] is None else as_int(row["block"]),
            _text_or_none(row["layer"]),
            loss=as_float(row["loss"]),
            n_weights=as_int(row["n_weights"]),
            p_value=None if row.get("p_max_t") is None else as_float(row["p_max_t"]),
        )
        for row in chosen
    )


def _text_or_none(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def find_losses(records: Iterable[LossRecord], **wanted: object) -> list[LossRecord]:
    """Return the records whose attributes have the wanted values; None is any value."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return [record for record in records if all(getattr(record, name) == value for name, value in given.items())]
