"""`mlprune mixed-model` on the variants of a finished run."""

import json
from pathlib import Path

from typer.testing import CliRunner

from ray_jobs.cli.application import app
from tests.tiny_recipes import N_FACTS, FinishedRun, copy_of


def test_methods_are_fixed_and_items_languages_and_seeds_are_random(tiny_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store").local_root
    arguments = ["mixed-model", "--store", str(store), "--task", "facts", "--format", "json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert "A check only" in result.stderr
    rows = json.loads(result.stdout)
    fixed = {row["variant_id"]: row for row in rows if row["kind"] == "fixed"}
    random = {row["term"]: row["n_levels"] for row in rows if row["kind"] == "random"}
    dense, *pruned = tiny_run.plan.variants
    seeds = [one for one in pruned if tiny_run.plan.variants[one].label.startswith("random")]
    assert len(seeds) == 2
    assert len(set(fixed) & set(seeds)) == 1
    assert set(fixed) | set(seeds) == set(pruned)
    assert {row["n_levels"] for variant, row in fixed.items() if variant in seeds} == {2}
    assert {row["n_answers"] for row in rows} == {len(tiny_run.plan.variants) * 2 * N_FACTS}
    names = {"item": N_FACTS, "language": 2, "seed": 2}
    assert random == {f"standard deviation of {name}": n for name, n in names.items()}
    assert all(row["low"] < row["estimate"] < row["high"] for row in fixed.values())
    assert dense not in fixed
    other = CliRunner().invoke(app, [*arguments[:-3], "perplexity"])
    assert "no evaluation matches" in str(other.exception)
