"""Deprecated names warn with the version that deprecates and the version that removes them."""

import sys
import warnings
from pathlib import Path
from typing import Annotated

import pytest

from catalog import queries, sql_files
from catalog.sql_files import SqlFile
from catalog.store import Catalog
from mlprune.deprecation import Deprecated, DeprecatedNameWarning, deprecated_function
from mlprune.recipe.names import warn_of_deprecated_keys
from mlprune.store.store import Store
from mlprune.strict_model import Model
from ray_jobs.cli import command_table
from ray_jobs.cli.application import show_warning
from ray_jobs.cli.command_line import present_arguments
from ray_jobs.cli.command_table import OldName

DECLARED = Deprecated("1.1", "1.3", use="better")


class Entry(Model):
    """An entry of a recipe."""

    old: Annotated[int, DECLARED] = 0
    better: int = 0


class Section(Model):
    """A section with entries."""

    entries: tuple[Entry, ...] = ()


def only_message(caught: pytest.WarningsRecorder) -> str:
    (warning,) = caught
    return str(warning.message)


@pytest.mark.parametrize(("since", "until"), [("1.1", "1.3"), ("1.0", "1.12"), ("0.3", "1.2"), ("1.9", "2.2")])
def test_a_name_stays_for_two_minor_versions(since: str, until: str) -> None:
    assert (Deprecated(since, until).since, Deprecated(since, until).until) == (since, until)


@pytest.mark.parametrize(
    ("since", "until"), [("1.1", "1.2"), ("1.1", "1.1"), ("1.3", "1.1"), ("1.9", "2.0"), ("2.0", "1.9"), ("1", "1.3")]
)
def test_a_name_that_is_removed_earlier_cannot_be_declared(since: str, until: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Deprecated(since, until)


def test_a_recipe_key_warns_once_however_many_entries_have_it_and_only_if_it_is_given() -> None:
    with pytest.warns(DeprecatedNameWarning) as caught:
        warn_of_deprecated_keys(Section.model_validate({"entries": [{"old": 0}, {"better": 1}, {"old": 2}]}))
    assert only_message(caught) == "recipe key entries.old is deprecated since 1.1, removed in 1.3; use better"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_deprecated_keys(Section.model_validate({"entries": [{"better": 1}]}))


def test_a_command_and_its_options_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    old = OldName("query", {"--old": "--param"}, deprecated=DECLARED)
    monkeypatch.setattr("ray_jobs.cli.command_line.OLD_NAMES", {"ask": old})
    with pytest.warns(DeprecatedNameWarning) as caught:
        assert present_arguments(["ask", "--old", "a=b"]) == ["query", "--param", "a=b"]
    assert only_message(caught) == "ask --old is deprecated since 1.1, removed in 1.3; use query --param"


def test_names_of_version_0_2_are_removed_in_the_stated_version() -> None:
    assert {old.deprecated for old in command_table.OLD_NAMES.values()} == {command_table.OF_0_2}


def test_a_query_and_a_view_warn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    comment = "-- old: one row per number.\n-- deprecated in 1.1, removed in 1.3: use better\n"
    query, view = SqlFile("old", f"{comment}SELECT 1 AS n"), SqlFile("costs", f"{comment}CREATE VIEW costs AS SELECT 1")
    files = {"queries": [query], "views": [view]}
    assert query.description == "one row per number."
    with Catalog.in_memory(Store(tmp_path)) as catalog:
        monkeypatch.setattr(sql_files, "sql_files", files.__getitem__)
        for text, named in (("old", "query old"), ("FROM costs", "view costs")):
            with pytest.warns(DeprecatedNameWarning) as caught:
                queries.answer_user_query(catalog, text)
            assert only_message(caught).startswith(f"{named} is deprecated since 1.1, removed in 1.3; use better")


def test_a_python_function_warns_at_the_line_of_its_caller_and_does_its_work() -> None:
    @deprecated_function(DECLARED)
    def old(value: int) -> int:
        """Return the value."""
        return value

    with pytest.warns(DeprecatedNameWarning) as caught:
        assert old(3) == 3
    assert caught[0].filename == __file__
    assert "removed in 1.3" in (old.__doc__ or "")


def test_a_command_line_shows_the_warning_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_warning(DeprecatedNameWarning("serve is deprecated"), DeprecatedNameWarning, "file.py", 1, sys.stderr)
    assert capsys.readouterr().err == "mlprune: serve is deprecated\n"
