"""Opening an existing store for a command."""

import sys
from pathlib import Path

import pytest

from mlprune.errors import StoreError
from ray_jobs.cli.options import existing_store, show_start
from tests.tiny_recipes import FinishedRun


def test_a_store_with_records_is_opened(small_run: FinishedRun) -> None:
    assert existing_store(small_run.store.uri).record_names() == small_run.store.record_names()


def test_a_store_without_records_is_bad_input_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        existing_store(str(tmp_path / "nothing"))
    assert caught.value.context["store"] == str(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_start_of_a_command_is_shown_on_a_terminal_only(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    show_start("planning r.yaml")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "planning r.yaml ...\n" if is_terminal else "")
