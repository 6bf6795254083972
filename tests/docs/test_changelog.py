"""The changelog is for users: short sections with dates, the newest of which is the version of the package."""

import re
from datetime import date

import mlprune
from tests.docs.pages import ROOT

MOST_LINES = 80
SECTION = re.compile(r"^## \[([\w.]+)\] - (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = SECTION.findall((ROOT / "CHANGELOG.md").read_text("utf-8"))


def test_a_section_has_at_most_80_lines() -> None:
    lengths = {version: len(text.strip().splitlines()) for version, _, text in SECTIONS}
    assert len(lengths) >= 4
    assert {version: n_lines for version, n_lines in lengths.items() if n_lines > MOST_LINES} == {}


def test_the_newest_section_is_the_version_of_the_package() -> None:
    assert SECTIONS[0][0] == mlprune.__version__


def test_sections_have_dates_the_newest_first() -> None:
    dates = [date.fromisoformat(stated) for _, stated, _ in SECTIONS]
    assert dates == sorted(dates, reverse=True)
