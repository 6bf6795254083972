"""Output of `mlprune demo`, with a small finished run instead of the built-in recipe."""

from pathlib import Path

import pytest

from ray_jobs.cli.commands import demo
from ray_jobs.cli.commands.demo import QUESTIONS, TRY_NEXT, run_demo
from tests.tiny_recipes import FinishedRun, copy_of


def test_the_demo_prints_a_table_per_question_the_paths_and_commands_to_try(
    small_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = copy_of(small_run.store, tmp_path / "store")
    monkeypatch.setattr(demo, "RECIPE", small_run.recipe_path)
    assert run_demo(store.uri, address="none") == 0
    output = capsys.readouterr().out
    for title, columns in QUESTIONS.values():
        assert title in " ".join(output.split())
        assert columns[0] in output
    tables = output.partition("catalog: ")[0]
    assert max(map(len, tables.splitlines())) <= 80
    assert str(tmp_path / "store" / "catalog.duckdb") in output
    assert str(tmp_path / "store" / "report.html") in output
    assert (tmp_path / "store" / "report.html").exists()
    assert all(command.format(store=store.uri) in output for command in TRY_NEXT)
