"""Warnings about finished variants: a sparsity that was not reached, and a schedule that stayed uniform."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.steps.prune.result_warnings import variant_warnings
from mlprune.store.records import Record
from tests.tiny_recipes import FinishedRun, copied_inputs, finished_run, small_recipe


@pytest.fixture(scope="module")
def run(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    recipe = small_recipe()
    recipe["variants"] = [
        {"name": "usual", "score": "magnitude", "sparsity": [0.3, 0.5]},
        {"name": "nothing", "score": "magnitude", "structure": "row", "sparsity": 0.01},
        {"name": "scope", "score": "magnitude", "sparsity": 0.5, "scope": {"blocks": [0]}},
        {"name": "given", "score": "magnitude", "sparsity": 0.5, "schedule": {"blocks": {0: 0.75}}},
        {"name": "rounded", "score": "magnitude", "sparsity": 0.5, "bits": 8},
    ]
    recipe["evaluations"] = []
    return finished_run(copied_inputs(tiny_inputs, tmp_path_factory.mktemp("warnings")), recipe, name="warnings")


def warnings_of(run: FinishedRun, name: str) -> list[str]:
    return [
        line for one in run.named(name) for line in variant_warnings(run.store, run.store.require("variants", one.id))
    ]


@pytest.mark.parametrize("name", ["usual", "scope", "given", "rounded"])
def test_a_variant_that_is_as_asked_for_has_no_warning(run: FinishedRun, name: str) -> None:
    assert warnings_of(run, name) == []


def test_a_sparsity_that_is_not_reached_is_named_with_the_variant(run: FinishedRun) -> None:
    (variant,) = run.named("nothing")
    (line,) = warnings_of(run, "nothing")
    assert variant.id in line
    assert f"{variant.spec.sparsity:g}" in line


@pytest.mark.parametrize(("p_value", "n_lines"), [(0.2, 1), (0.01, 0)])
def test_a_schedule_whose_losses_do_not_differ_from_zero_has_a_warning(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch, p_value: float, n_lines: int
) -> None:
    (given,) = run.named("given")
    record: Record = run.store.require("variants", given.id)
    schedule: Any = {"kind": "sensitivity", "losses": f"losses at {p_value}"}
    record = replace(record, parameters={**record.parameters, "schedule": schedule, "sparsity": 0.58})
    loss = {"group_kind": "outside_english", "group_name": "", "layer": None, "n_weights": 10, "p_max_t": p_value}
    rows = {"sensitivity": [{**loss, "block": block, "loss": 1e-7 * block} for block in range(3)]}
    losses = Record("sensitivities", schedule["losses"], 1, {}, {}, {}, (), rows)
    monkeypatch.setattr("mlprune.steps.loss_records.Store.require", lambda *_: losses)
    assert len(list(variant_warnings(run.store, record))) == n_lines
