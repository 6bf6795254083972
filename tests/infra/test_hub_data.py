"""The table of the built-in data sets on their hub, with a hub on loopback and with a reader that fails."""

from pathlib import Path

import pytest

from infra.hub_data import Loaded, data_sets, load, main, read_from_hub, table
from mlprune.errors import MissingTaskFileError, TaskFileError
from mlprune.evaluation.tasks.hub_datasets import pinned
from mlprune.evaluation.tasks.registry import HUB_SETS
from tests.hub import serving, use_hub
from tests.mlprune.evaluation.tasks.test_hub_datasets import nli, parquet


def test_every_built_in_data_set_is_loaded() -> None:
    assert {data.name for _, data in data_sets()} == set(HUB_SETS)


def test_a_data_set_is_read_from_the_hub_in_a_language_that_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving() as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        pinned.cache_clear()
        hub.push("facebook/xnli", {"fr/test-00000-of-00001.parquet": parquet(nli(4))})
        loaded = load("xnli", HUB_SETS["facebook/xnli"], read=read_from_hub)
        lacking = load("xnli", HUB_SETS["masakhane/afrixnli"], read=read_from_hub)
    assert loaded == Loaded("xnli", "facebook/xnli", "fr", "test", 4, "0")
    assert lacking.n_items == 0
    assert lacking.problem


def test_a_failure_is_in_the_table_and_makes_the_exit_code_1(tmp_path: Path) -> None:
    def read(*_: object) -> None:
        raise TaskFileError("wrong | label", got=3)

    assert main(["--out", str(tmp_path / "table.md"), "--task", "xnli"], read=read) == 1  # type: ignore[arg-type]
    text = (tmp_path / "table.md").read_text()
    assert "0 of 2 data sets" in text
    assert "wrong \\| label" in text


def test_only_a_missing_language_leads_to_the_next_one() -> None:
    asked = []

    def read(task: str, data: object, language: str, split: str) -> None:
        asked.append(language)
        raise (MissingTaskFileError if len(asked) == 1 else TaskFileError)("no")

    assert load("xnli", HUB_SETS["facebook/xnli"], read=read).problem  # type: ignore[arg-type]
    assert len(asked) == 2


def test_failures_come_first() -> None:
    rows = table([Loaded("a", "x/y", n_items=2), Loaded("b", "x/z", problem="gone")]).splitlines()[6:]
    assert [row.split(" | ")[1] for row in rows] == ["x/z", "x/y"]
