"""The order of the tests."""

from pathlib import Path

from tests.conftest import LONGEST_FILES

ROOT = Path(__file__).parents[2]


def test_every_file_that_is_started_first_exists() -> None:
    assert [name for name in LONGEST_FILES if not (ROOT / name).is_file()] == []
